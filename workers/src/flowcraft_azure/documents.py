"""Cosmos DB items and the facts they hold: pure translation in both directions.

The status container has one item a run (its header). The context container has, in the run's logical
partition, ``n:`` node records, ``k:`` context keys, ``p:`` packs of many context keys (``base:`` is the one
beneath all others), ``b:`` blueprint snapshots, and the input under the run's own id (where a hand-written
client puts its initial context too).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from flowcraft.ports import Commit, ContextWrite, StoredRecord
from flowcraft.ports.errors import PayloadTooLargeError
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument

ITEM_LIMIT_BYTES: Final = 2 * 1024 * 1024
"""Largest item, and largest request (learn.microsoft.com, Cosmos DB, "concepts-limits")."""
BATCH_LIMIT: Final = 100
"""Most operations of a transactional batch (Cosmos DB, "transactional-batch")."""
PACK_ABOVE: Final = 90
"""More context writes than this in one commit share one item."""
ID_LENGTH: Final = 255
"""Longest item id in characters; four bytes each stay under the service's 1,023 bytes."""

RECORD_FIELDS: Final = (
    "key", "node", "status", "action", "taken", "attempt", "error", "startedAt", "finishedAt", "worker",
    "delivery", "seq", "kind", "wakeAt", "decision", "values", "wrote", "children", "waitsFor",
    "fallback",
)  # fmt: skip
"""What a projection of node records carries: everything but outputs."""
HEADER_FIELDS: Final = tuple(
    name for name in HeaderDocument.__annotations__ if name not in {"input", "blueprint", "adoptedKeys"}
)
"""What a projection of headers carries: everything but what may be long."""

_UNSAFE = re.compile(r"[#/\\?%\x00-\x1f\x7f]| \Z")
_SYSTEM: Final = frozenset({"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"})
_WRAPPED: Final = "_input"


def escaped(text: str) -> str:
    """Text fit for an item id: what the service forbids is percent-encoded."""
    return _UNSAFE.sub(lambda found: f"%{ord(found.group()):02X}", text)


def item_id(kind: str, name: str) -> str:
    """The id of an item of a kind (``n``, ``k``, ``p``, ``b``); a long one ends in a hash of the whole."""
    whole = f"{kind}:{escaped(name)}"
    if len(whole) <= ID_LENGTH:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return f"{whole[: ID_LENGTH - len(digest) - 1]}~{digest}"


def record_item(run_id: str, record: NodeRecord) -> dict[str, Any]:
    """The item of a node record."""
    return {"id": item_id("n", record.key), "runId": run_id, "type": "n", **record.to_document()}


def stored_record(item: Mapping[str, Any]) -> StoredRecord:
    """The node record in an item, with its version."""
    return StoredRecord(NodeRecord.from_document(item), item.get("_etag", ""))


def context_items(run_id: str, commit: Commit) -> list[dict[str, Any]]:
    """The items of a commit's context writes: one a key, or one for all where there are many."""
    if not commit.context:
        return []
    if commit.base:  # an item of each key would replace what a node has written meanwhile
        return [_pack(run_id, item_id("base", ""), commit)]
    by = _writer(commit)
    if len(commit.context) > PACK_ABOVE or _operations(commit) > BATCH_LIMIT:
        return [_pack(run_id, item_id("p", by), commit)]
    return [
        {
            "id": item_id("k", write.key),
            "runId": run_id,
            "type": "k",
            "key": write.key,
            **_entry(write),
            "seq": commit.seq,
            "by": by,
        }
        for write in commit.context
    ]


def _pack(run_id: str, name: str, commit: Commit) -> dict[str, Any]:
    entries = {write.key: _entry(write) for write in commit.context}
    return {"id": name, "runId": run_id, "type": "p", "seq": commit.seq, "entries": entries}


def _writer(commit: Commit) -> str:
    if commit.create:
        return commit.create[0].key
    return commit.replace[1].key if commit.replace else ""


def _operations(commit: Commit) -> int:
    return len(commit.create) + (commit.replace is not None) + len(commit.context)


def _entry(write: ContextWrite) -> dict[str, Any]:
    return {"deleted": True} if write.deleted else {"value": write.value}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a batch.

    Attributes:
        verb: ``create``, ``replace`` or ``upsert``.
        item: The item to write.
        etag: The version that a replace expects.
    """

    verb: str
    item: dict[str, Any]
    etag: str = ""

    def for_batch(self) -> tuple[str, tuple[Any, ...]] | tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The operation as the SDK's transactional batch takes it."""
        if self.verb == "replace":
            return ("replace", (self.item["id"], self.item), {"if_match_etag": self.etag})
        return (self.verb, (self.item,))


def operations(run_id: str, commit: Commit) -> list[Operation]:
    """All writes of a commit, in one order: records first, so that a conflict is told of a record.

    Raises:
        PayloadTooLargeError: more operations, or a larger item or request than one transaction takes.
    """
    found = [Operation("create", record_item(run_id, record)) for record in commit.create]
    if commit.replace is not None:
        before, after = commit.replace
        found.append(Operation("replace", record_item(run_id, after), before.etag))
    found.extend(Operation("upsert", item) for item in context_items(run_id, commit))
    if len(found) > BATCH_LIMIT:
        raise PayloadTooLargeError(
            f"a commit of {len(found)} writes is more than the {BATCH_LIMIT} of one transaction"
        )
    require_fits([operation.item for operation in found])
    return found


def require_fits(items: Iterable[Mapping[str, Any]]) -> None:
    """Refuse items that the service would refuse, before they are sent.

    Raises:
        PayloadTooLargeError: an item, or all together, are over 2 MB.
    """
    total = 0
    for item in items:
        size = _size(item)
        if size > ITEM_LIMIT_BYTES:
            raise PayloadTooLargeError(
                f"item {item.get('id')} has {size} bytes, more than the {ITEM_LIMIT_BYTES} of Cosmos DB: "
                "keep large data in storage and pass a reference"
            )
        total += size
    if total > ITEM_LIMIT_BYTES:
        raise PayloadTooLargeError(
            f"a commit of {total} bytes is more than the {ITEM_LIMIT_BYTES} of one transaction in Cosmos DB: "
            "keep large data in storage and pass references"
        )


def _size(item: Mapping[str, Any]) -> int:
    try:
        return len(orjson.dumps(item))
    except TypeError:  # integers over 64 bits; the SDK decides whether they are JSON
        return 0


def merged_context(
    items: Sequence[Mapping[str, Any]], keys: Iterable[str]
) -> tuple[dict[str, Any], frozenset[str]]:
    """The asked context keys out of ``k:`` items and packs, and which of them were deleted.

    Of each key the entry with the highest seq counts; of entries with the same seq (written by nodes that ran
    side by side), an item of its own.
    """
    newest: dict[str, tuple[int, int, Mapping[str, Any]]] = {}

    def consider(key: str, rank: tuple[int, int], entry: Mapping[str, Any]) -> None:
        known = newest.get(key)
        if known is None or rank > known[:2]:
            newest[key] = (*rank, entry)

    wanted = set(keys)
    for item in items:
        if item.get("type") == "k":
            consider(item["key"], (item.get("seq", 0), 1), item)
        elif item.get("type") == "p":
            for key in wanted & item["entries"].keys():
                consider(key, (item.get("seq", 0), 0), item["entries"][key])
    entries = {key: entry for key, (_, _, entry) in newest.items() if key in wanted}
    values = {key: entry.get("value") for key, entry in entries.items() if not entry.get("deleted")}
    return values, frozenset(entries.keys() - values.keys())


def newest_seq(items: Sequence[Mapping[str, Any]], key: str) -> int:
    """The highest seq at which a context key was written in these ``k:`` items and packs; 0 where never."""
    written = [
        item.get("seq", 0)
        for item in items
        if (item.get("key") == key if item.get("type") == "k" else key in item.get("entries", ()))
    ]
    return max(written, default=0)


def input_item(run_id: str, value: Any) -> dict[str, Any]:
    """The item of a large input; wrapped if it is no object, or has keys that items have."""
    own = {"id": run_id, "runId": run_id}
    if not isinstance(value, Mapping) or any(key in {*own, "type"} or key.startswith("_") for key in value):
        return {**own, _WRAPPED: value}
    return {**value, **own}


def input_of(item: Mapping[str, Any]) -> Any:
    """The input in the item whose id is the run id, ours or a hand-written client's."""
    if _WRAPPED in item:
        return item[_WRAPPED]
    return {key: value for key, value in item.items() if key not in {"id", "runId"} and key[:1] != "_"}


def without_system(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item without what the service adds."""
    return {key: value for key, value in item.items() if key not in _SYSTEM}


def header_document(item: Mapping[str, Any]) -> HeaderDocument:
    """The header in an item."""
    return cast("HeaderDocument", without_system(item))

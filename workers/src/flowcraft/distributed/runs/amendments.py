"""What a run that goes on from another one has otherwise: its input, and context keys. Pure.

A patched key has its new value before anything of the new run begins. What the old run wrote under that name
is not taken over; what the new run writes there comes after it, as after any other write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from flowcraft.ports import ContextWrite
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument, PatchDocument


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is to be different in the new run; by default nothing is.

    Attributes:
        input: The run's input, in place of the old one's; None keeps that.
        values: Context keys that are set, with their values (JSON).
        deleted: Context keys that are deleted.
    """

    input: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Tells whether two are the same; empty where nothing is different."""
        if self == Amendment():
            return ""
        said = [self.input, self.values, sorted(self.deleted)]
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    @property
    def patch(self) -> PatchDocument:
        """The context keys as a header keeps them."""
        return {"set": dict(self.values), "unset": list(self.deleted)}


def names_of(patch: PatchDocument) -> frozenset[str]:
    """The context keys that a patch is about."""
    return frozenset((*patch.get("set", ()), *patch.get("unset", ())))


def patch_of(header: HeaderDocument) -> PatchDocument:
    """The patch that a run began with; empty where it has none."""
    return header.get("continues", {}).get("patch", {})


def writes_of(patch: PatchDocument) -> list[ContextWrite]:
    """What a patch writes."""
    set_now = [ContextWrite(name, value) for name, value in patch.get("set", {}).items()]
    return [*set_now, *(ContextWrite(name, deleted=True) for name in patch.get("unset", ()))]


def unshadowed(
    records: Mapping[str, NodeRecord], earlier: PatchDocument, before: Collection[str], now: PatchDocument
) -> dict[str, NodeRecord]:
    """The records without the writes that a patch has replaced: nobody will see those again.

    Args:
        records: Those of the run to go on from.
        earlier: The patch that it began with.
        before: The node keys that it had taken over then.
        now: The patch that the new run begins with.
    """
    was, shall_be = names_of(earlier), names_of(now)
    seen: dict[str, NodeRecord] = {}
    for key, record in records.items():
        gone = shall_be | was if key in before else shall_be
        wrote = tuple(name for name in record.wrote if name not in gone)
        seen[key] = record if len(wrote) == len(record.wrote) else replace(record, wrote=wrote)
    return seen


def carried(
    earlier: PatchDocument, now: PatchDocument, records: Mapping[str, NodeRecord], keys: Sequence[str]
) -> PatchDocument:
    """The patch of the new run: its own, and what still holds of the earlier one.

    A key of the earlier patch holds until a node writes it that is taken over.

    Args:
        earlier: The patch of the run to go on from.
        now: What is asked for now.
        records: The records as ``unshadowed`` gives them.
        keys: The node keys that are taken over.
    """
    over = names_of(now).union(*(records[key].wrote for key in keys))
    return {
        "set": {
            **{name: value for name, value in earlier.get("set", {}).items() if name not in over},
            **now.get("set", {}),
        },
        "unset": [*(name for name in earlier.get("unset", ()) if name not in over), *now.get("unset", ())],
    }

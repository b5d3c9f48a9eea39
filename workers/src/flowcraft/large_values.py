"""Large outputs, inputs and context values kept beside the facts, which then hold references to them.

Whoever reads or writes facts sees whole values. A value is written before the fact that refers to it, under
the hash of its content: a crash between the two leaves a value that nobody reads, and the run's purge deletes
it; a redelivery writes the same value again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from flowcraft.ports import Commit, ContextWrite, FactStore, HeaderQuery, Loaded, Stored, StoredRecord
from flowcraft.ports.errors import PayloadTooLargeError
from flowcraft.ports.values import ValueStore
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument

INLINE_BYTES: Final = 128 * 1024
"""Larger values leave their facts: in Cosmos DB every KiB written costs request units, in storage none."""
INLINE_TOTAL_BYTES: Final = 1024 * 1024
"""What the values of one commit may have together, half of a transaction's limit; the largest leave first."""
LARGEST_BYTES: Final = 64 * 1024 * 1024
"""Largest value. It is held in memory as a whole, several times while it is parsed."""
REFERENCE: Final = "$large"
"""The key of a reference. A user's object with it is itself kept as a large value: it is never mistaken."""
MARK: Final = "_large"
"""Context key of runs that have large values: others are purged without asking the value store."""
READS_AT_A_TIME: Final = 8


class LargeValueFacts(FactStore):
    """A fact store for values of any size: over a fact store and a value store.

    Args:
        facts: Where facts are, with references in place of large values.
        values: Where large values are.
        inline_bytes: Values over this size leave their facts.
    """

    def __init__(self, facts: FactStore, values: ValueStore, inline_bytes: int = INLINE_BYTES) -> None:
        self._facts = facts
        self._values = values
        self._inline_bytes = inline_bytes
        self._marked: set[str] = set()

    # ---- what has no values ----

    async def read_header(self, run_id: str) -> Stored | None:
        """See ``FactStore.read_header``."""
        return await self._facts.read_header(run_id)

    async def replace_header(self, stored: Stored, document: HeaderDocument) -> Stored:
        """See ``FactStore.replace_header``."""
        return await self._facts.replace_header(stored, document)

    async def write_snapshot(self, run_id: str, content_hash: str, snapshot: Mapping[str, Any]) -> str:
        """See ``FactStore.write_snapshot``; a snapshot over the limit is kept as any large value."""
        (kept,) = await self._out(run_id, [snapshot])
        return await self._facts.write_snapshot(run_id, content_hash, kept)

    async def read_snapshot(self, run_id: str, reference: str) -> Mapping[str, Any]:
        """See ``FactStore.read_snapshot``."""
        kept = await self._facts.read_snapshot(run_id, reference)
        snapshot: Mapping[str, Any] = await whole_value(self._values, run_id, kept)
        return snapshot

    async def resolved(
        self, run_id: str, nodes: Sequence[str], session: str = ""
    ) -> Mapping[str, NodeRecord]:
        """See ``FactStore.resolved``: outputs, and other values, stay where they are."""
        return await self._facts.resolved(run_id, nodes, session)

    def records(self, run_id: str, session: str = "") -> AsyncIterator[Sequence[StoredRecord]]:
        """See ``FactStore.records``: outputs, and other values, stay where they are."""
        return self._facts.records(run_id, session)

    def headers(self, query: HeaderQuery) -> AsyncIterator[Sequence[Stored]]:
        """See ``FactStore.headers``."""
        return self._facts.headers(query)

    # ---- what has ----

    async def create_header(self, document: HeaderDocument, input_item: Any = None) -> Stored:
        """See ``FactStore.create_header``."""
        if input_item is not None:
            run_id = document["runId"] if "runId" in document else document["id"]
            (input_item,) = await self._out(run_id, [input_item])
        return await self._facts.create_header(document, input_item)

    async def load(
        self,
        run_id: str,
        *,
        nodes: Sequence[str] = (),
        context: Sequence[str] = (),
        with_input: bool = False,
        session: str = "",
    ) -> Loaded:
        """See ``FactStore.load``."""
        loaded = await self._facts.load(
            run_id, nodes=nodes, context=context, with_input=with_input, session=session
        )
        places = [value for stored in loaded.records.values() for value in _values(stored.record)]
        places += [*loaded.context.values(), loaded.input]
        wanted = {value[REFERENCE] for value in places if is_reference(value)}
        if not wanted:
            return loaded
        whole = await self._fetched(run_id, sorted(wanted))

        def filled(value: Any) -> Any:
            return whole[value[REFERENCE]] if is_reference(value) else value

        def whole_record(stored: StoredRecord) -> StoredRecord:
            values = [filled(value) for value in _values(stored.record)]
            return StoredRecord(_with_values(stored.record, values), stored.etag)

        return Loaded(
            records={key: whole_record(stored) for key, stored in loaded.records.items()},
            context={key: filled(value) for key, value in loaded.context.items()},
            input=filled(loaded.input),
            session=loaded.session,
            deleted=loaded.deleted,
        )

    async def commit(self, run_id: str, commit: Commit, session: str = "") -> str:
        """See ``FactStore.commit``; large values are put before it."""
        records = [*commit.create, *([commit.replace[1]] if commit.replace else [])]
        whole = [value for record in records for value in _values(record)]
        whole += [write.value for write in commit.context]
        kept = await self._out(run_id, whole)
        if kept is whole:
            return await self._facts.commit(run_id, commit, session)
        rest = iter(kept)
        create = [_with_values(record, rest) for record in commit.create]
        replaced = (commit.replace[0], _with_values(commit.replace[1], rest)) if commit.replace else None
        context = [ContextWrite(write.key, next(rest), write.deleted) for write in commit.context]
        changed = replace(commit, create=create, replace=replaced, context=context)
        return await self._facts.commit(run_id, changed, session)

    async def purge(self, run_id: str) -> None:
        """See ``FactStore.purge``: large values first: a purge that was interrupted finds the mark again."""
        if (await self._facts.load(run_id, context=[MARK])).context:
            await self._values.purge(run_id)
        self._marked.discard(run_id)
        await self._facts.purge(run_id)

    # ---- values and references ----

    async def _out(self, run_id: str, values: list[Any]) -> list[Any]:
        """The values, with references in place of large ones; the very same list if there is none.

        Raises:
            PayloadTooLargeError: a value is over the limit.
        """
        sizes = [_size(value, self._inline_bytes) for value in values]
        large = {place for place, size in enumerate(sizes) if size > self._inline_bytes}
        total = sum(sizes) - sum(sizes[place] for place in large)
        for place in sorted(range(len(values)), key=lambda place: -sizes[place]):
            if total <= INLINE_TOTAL_BYTES:
                break
            if place not in large:
                large.add(place)
                total -= sizes[place]
        if not large:
            return values
        await self._mark(run_id)
        kept = list(values)
        for place in sorted(large):
            kept[place] = await self._put(run_id, values[place])
        return kept

    async def _mark(self, run_id: str) -> None:
        if run_id not in self._marked:
            await self._facts.commit(run_id, Commit(context=[ContextWrite(MARK, value=True)]))
            if len(self._marked) > 1000:
                self._marked.clear()
            self._marked.add(run_id)

    async def _put(self, run_id: str, value: Any) -> dict[str, Any]:
        data = orjson.dumps(value)
        if len(data) > LARGEST_BYTES:
            raise PayloadTooLargeError(
                f"a value of {len(data)} bytes is over the limit of {LARGEST_BYTES}: "
                "keep it in storage and pass a reference"
            )
        name = hashlib.sha256(data).hexdigest()
        await self._values.put(run_id, name, data)
        return {REFERENCE: name, "bytes": len(data)}

    async def _fetched(self, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for start in range(0, len(names), READS_AT_A_TIME):
            part = names[start : start + READS_AT_A_TIME]
            data = await asyncio.gather(*(self._values.get(run_id, name) for name in part))
            found.update((name, orjson.loads(one)) for name, one in zip(part, data, strict=True))
        return found


async def whole_value(values: ValueStore, run_id: str, value: Any) -> Any:
    """A value as it is kept in a fact, whole."""
    return orjson.loads(await values.get(run_id, value[REFERENCE])) if is_reference(value) else value


def is_reference(value: Any) -> bool:
    """Whether a value in a fact stands for a large one."""
    return isinstance(value, Mapping) and REFERENCE in value


def _size(value: Any, limit: int) -> int:
    """Bytes of JSON, near enough; over the limit for what must not be kept in a fact."""
    if value is None or isinstance(value, bool | int | float):
        return 8
    if isinstance(value, str):
        return len(value) if len(value) * 4 < limit else len(value.encode())
    if is_reference(value):
        return limit + 1
    try:
        return len(orjson.dumps(value))
    except TypeError:  # not JSON, or integers over 64 bits: the fact store decides
        return 8


def _values(record: NodeRecord) -> list[Any]:
    """What of a record may be large: what its node, its edges, a person gave."""
    decided = record.decision.get("output") if record.decision is not None else None
    return [record.output, *record.values.values(), decided]


def _with_values(record: NodeRecord, values: Any) -> NodeRecord:
    """The record with what ``_values`` told of it in this form."""
    rest = iter(values)
    output = next(rest)
    edges = {edge: next(rest) for edge in record.values}
    decided = next(rest)
    decision = record.decision
    if decision is not None and decided is not decision.get("output"):
        decision = {**decision, "output": decided}
    return replace(record, output=output, values=edges, decision=decision)

"""The fact store port in memory, with the reads that session consistency allows.

Every write of a run's partition has a number; a read sees all writes up to some number. Without staleness
that is the newest; with it, any from what its token proves (and what is older than the lag) to the newest.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

import orjson
from tests.simulation.link import Link

from flowcraft.ports import Clock, Commit, HeaderQuery, Loaded, Stored, StoredRecord
from flowcraft.ports.errors import (
    ConflictError,
    PayloadTooLargeError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.records import NodeRecord
from flowcraft.times import parse_time
from flowcraft_api.wire import HeaderDocument

T = TypeVar("T")
MAX_BYTES: Final = 2 * 1024 * 1024
PAGE: Final = 100
HEAVY: Final = ("input", "blueprint")


@dataclass(frozen=True)
class Version(Generic[T]):
    """A value as one write left it; ``number`` is that write's."""

    number: int
    at: float
    value: T


@dataclass
class Partition:
    """One run's items in one container: every version of each, and the time of each write."""

    items: dict[str, list[Version[Any]]] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    @property
    def newest(self) -> int:
        return len(self.times)

    def write(self, values: Mapping[str, Any], at: float) -> int:
        self.times.append(at)
        for name, value in values.items():
            self.items.setdefault(name, []).append(Version(self.newest, at, value))
        return self.newest

    def read(self, name: str, number: int) -> Version[Any] | None:
        found = None
        for version in self.items.get(name, ()):
            if version.number > number:
                break
            found = version
        return found


@dataclass
class FactServer:
    """The service, shared by every process.

    Attributes:
        lag_s: How long a write may stay hidden from reads that do not prove it with a token.
        stale_reads: How many reads did not see the newest.
    """

    clock: Clock
    rng: random.Random
    lag_s: float = 0.0
    runs: dict[str, Partition] = field(default_factory=dict)
    headers: dict[str, Partition] = field(default_factory=dict)
    stale_reads: int = 0

    def partition(self, run_id: str) -> Partition:
        return self.runs.setdefault(run_id, Partition())

    def seen(self, partition: Partition, session: str) -> int:
        """Up to which write a read with this token sees."""
        newest = partition.newest
        if self.lag_s <= 0 or not newest:
            return newest
        hidden_since = self.clock.monotonic() - self.lag_s
        least = newest
        while least and partition.times[least - 1] > hidden_since:
            least -= 1
        least = max(least, int(session or 0))
        seen = newest if self.rng.random() < 0.5 else self.rng.randint(least, newest)
        self.stale_reads += seen < newest
        return seen

    # ---- headers ----

    def create_header(self, document: HeaderDocument, input_item: Any) -> Stored:
        run_id = document.get("runId") or document["id"]
        stored, item = self._stamped(document), None if input_item is None else _checked(input_item)
        header = self.headers.setdefault(run_id, Partition())
        if header.items.get("header"):
            raise ConflictError(f"run {run_id} has a header already")
        if item is not None:
            self.partition(run_id).write({"input": item}, self.clock.monotonic())
        number = header.write({"header": stored}, self.clock.monotonic())
        return Stored(cast("HeaderDocument", _copy(stored)), str(number))

    def read_header(self, run_id: str, session: str) -> Stored | None:
        header = self.headers.get(run_id)
        found = header.read("header", self.seen(header, session)) if header else None
        if found is None:
            return None
        document = {"runId": run_id, "type": "header", **_copy(found.value)}
        return Stored(cast("HeaderDocument", document), str(found.number))

    def replace_header(self, stored: Stored, document: HeaderDocument) -> Stored:
        value = self._stamped(document)
        run_id = stored.document.get("runId") or stored.document["id"]
        header = self.headers.get(run_id)
        newest = header.read("header", header.newest) if header else None
        if header is None or newest is None or str(newest.number) != stored.etag:
            raise PreconditionFailedError(f"the header of run {run_id} was changed meanwhile")
        number = header.write({"header": value}, self.clock.monotonic())
        return Stored(cast("HeaderDocument", _copy(value)), str(number))

    def list_headers(self, query: HeaderQuery) -> list[Stored]:
        found = []
        for run_id, header in self.headers.items():
            version = header.read("header", self.seen(header, ""))
            if version is not None and _matches(query, run_id, version):
                document = {"runId": run_id, **_copy(version.value)}
                for name in HEAVY:
                    document.pop(name, None)
                found.append(Stored(cast("HeaderDocument", document), str(version.number)))
        return found

    def _stamped(self, document: HeaderDocument) -> dict[str, Any]:
        return {**_checked(document), "_ts": int(self.clock.now().timestamp())}

    # ---- records and context ----

    def load(
        self, run_id: str, nodes: Sequence[str], context: Sequence[str], *, with_input: bool, session: str
    ) -> Loaded:
        partition = self.partition(run_id)
        number = self.seen(partition, session)
        records = {key: self._record(partition, key, number) for key in nodes}
        values = {key: partition.read(f"k:{key}", number) for key in context}
        item = partition.read("input", number) if with_input else None
        return Loaded(
            records={key: found for key, found in records.items() if found is not None},
            context={
                key: _copy(found.value["value"])
                for key, found in values.items()
                if found is not None and "value" in found.value
            },
            input=None if item is None else _copy(item.value),
            session=str(number),
            deleted=frozenset(
                key for key, found in values.items() if found is not None and "value" not in found.value
            ),
        )

    def resolved(self, run_id: str, nodes: Sequence[str], session: str) -> dict[str, NodeRecord]:
        partition = self.partition(run_id)
        number = self.seen(partition, session)
        found = {key: self._record(partition, key, number, output=False) for key in nodes}
        return {key: one.record for key, one in found.items() if one is not None and one.record.resolved}

    def records(self, run_id: str, session: str) -> list[StoredRecord]:
        partition = self.partition(run_id)
        number = self.seen(partition, session)
        keys = [name.removeprefix("n:") for name in partition.items if name.startswith("n:")]
        found = [self._record(partition, key, number, output=False) for key in keys]
        return [one for one in found if one is not None]

    def commit(self, run_id: str, commit: Commit) -> str:
        partition = self.partition(run_id)
        writes: dict[str, Any] = {}
        for record in commit.create:
            if f"n:{record.key}" in partition.items or f"n:{record.key}" in writes:
                raise ConflictError(f"node {record.key} of run {run_id} has a record already")
            writes[f"n:{record.key}"] = _checked(record.to_document())
        if commit.replace is not None:
            before, after = commit.replace
            newest = partition.read(f"n:{after.key}", partition.newest)
            if newest is None or before.record.key != after.key or str(newest.number) != before.etag:
                raise PreconditionFailedError(f"the record of node {after.key} was changed meanwhile")
            writes[f"n:{after.key}"] = _checked(after.to_document())
        for write in commit.context:
            if commit.base and f"k:{write.key}" in partition.items:
                continue
            writes[f"k:{write.key}"] = _checked({} if write.deleted else {"value": write.value})
        return str(partition.write(writes, self.clock.monotonic()))

    def write_snapshot(self, run_id: str, content_hash: str, snapshot: Mapping[str, Any]) -> str:
        reference = f"b:{content_hash}"
        self.partition(run_id).write({reference: _checked(snapshot)}, self.clock.monotonic())
        return reference

    def read_snapshot(self, run_id: str, reference: str) -> Mapping[str, Any]:
        partition = self.partition(run_id)
        found = partition.read(reference, self.seen(partition, ""))
        if found is None:
            raise StaleReadError(f"snapshot {reference} of run {run_id} is not visible")
        return cast("Mapping[str, Any]", _copy(found.value))

    def purge_items(self, run_id: str) -> None:
        self.runs.pop(run_id, None)

    def purge_header(self, run_id: str) -> None:
        header = self.headers.get(run_id)
        if header is not None:
            header.items.clear()  # numbers go on, so that an old version is never taken for a new one

    def _record(
        self, partition: Partition, key: str, number: int, *, output: bool = True
    ) -> StoredRecord | None:
        found = partition.read(f"n:{key}", number)
        if found is None:
            return None
        document = _copy(found.value)
        if not output:
            document.pop("output", None)
        return StoredRecord(NodeRecord.from_document(document), str(found.number))


class SimulatedFacts:
    """A process's view of the store; implements the ``FactStore`` port."""

    def __init__(self, server: FactServer, link: Link) -> None:
        self._server = server
        self._link = link
        self._headers: dict[str, int] = {}

    def _seen(self, stored: Stored | None) -> Stored | None:
        """The client of a container keeps a token of its own: no process reads older than it has seen."""
        if stored is not None:
            run_id = stored.document.get("runId") or stored.document["id"]
            self._headers[run_id] = max(self._headers.get(run_id, 0), int(stored.etag))
        return stored

    async def create_header(self, document: HeaderDocument, input_item: Any = None) -> Stored:
        stored = await self._link.call(
            "facts.create_header", lambda: self._server.create_header(document, input_item), _status
        )
        self._seen(stored)
        return stored

    async def read_header(self, run_id: str) -> Stored | None:
        session = str(self._headers.get(run_id, ""))
        return self._seen(
            await self._link.call(
                "facts.read_header", lambda: self._server.read_header(run_id, session), _status
            )
        )

    async def replace_header(self, stored: Stored, document: HeaderDocument) -> Stored:
        replaced = await self._link.call(
            "facts.replace_header", lambda: self._server.replace_header(stored, document), _status
        )
        self._seen(replaced)
        return replaced

    async def write_snapshot(self, run_id: str, content_hash: str, snapshot: Mapping[str, Any]) -> str:
        return await self._link.call(
            "facts.write_snapshot", lambda: self._server.write_snapshot(run_id, content_hash, snapshot)
        )

    async def read_snapshot(self, run_id: str, reference: str) -> Mapping[str, Any]:
        return await self._link.call(
            "facts.read_snapshot", lambda: self._server.read_snapshot(run_id, reference)
        )

    async def load(
        self,
        run_id: str,
        *,
        nodes: Sequence[str] = (),
        context: Sequence[str] = (),
        with_input: bool = False,
        session: str = "",
    ) -> Loaded:
        def tell(loaded: Loaded) -> str:
            found = ", ".join(f"{key}={one.record.status}" for key, one in loaded.records.items())
            return f"{list(nodes)} {list(context)}: {found} {dict(loaded.context)} (@{loaded.session})"

        return await self._link.call(
            "facts.load",
            lambda: self._server.load(run_id, nodes, context, with_input=with_input, session=session),
            tell,
        )

    async def resolved(
        self, run_id: str, nodes: Sequence[str], session: str = ""
    ) -> Mapping[str, NodeRecord]:
        return await self._link.call(
            "facts.resolved",
            lambda: self._server.resolved(run_id, nodes, session),
            lambda found: f"{list(nodes)}: {sorted(found)}",
        )

    async def commit(self, run_id: str, commit: Commit, session: str = "") -> str:
        written = [*commit.create, *([commit.replace[1]] if commit.replace else [])]
        told = ", ".join(f"{record.key}={record.status} took {list(record.taken)}" for record in written)
        return await self._link.call(
            "facts.commit", lambda: self._server.commit(run_id, commit), lambda number: f"{told} (@{number})"
        )

    async def records(self, run_id: str, session: str = "") -> AsyncIterator[Sequence[StoredRecord]]:
        found = await self._link.call(
            "facts.records",
            lambda: self._server.records(run_id, session),
            lambda records: ", ".join(f"{one.record.key}={one.record.status}" for one in records),
        )
        for page in _pages(found):
            yield page

    async def headers(self, query: HeaderQuery) -> AsyncIterator[Sequence[Stored]]:
        found = await self._link.call("facts.headers", lambda: self._server.list_headers(query))
        for page in _pages(found):
            yield page

    async def purge(self, run_id: str) -> None:
        await self._link.call("facts.purge items", lambda: self._server.purge_items(run_id))
        await self._link.call("facts.purge header", lambda: self._server.purge_header(run_id))


def _pages(found: list[T]) -> list[list[T]]:
    return [found[start : start + PAGE] for start in range(0, len(found), PAGE)]


def _copy(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def _checked(value: Any) -> Any:
    text = orjson.dumps(value)
    if len(text) > MAX_BYTES:
        raise PayloadTooLargeError(f"an item of {len(text)} bytes is over the limit")
    return orjson.loads(text)


def _status(stored: Stored | None) -> str:
    if stored is None:
        return "none"
    document = stored.document
    waits = [entry["nodeKey"] for entry in document.get("awaiting", ())]
    return f"{document.get('status')}{f' awaiting {waits}' if waits else ''} (@{stored.etag})"


def _matches(query: HeaderQuery, run_id: str, version: Version[Any]) -> bool:
    document = version.value
    last_updated = parse_time(document.get("lastUpdated"))
    next_check, expires_at = parse_time(document.get("nextCheck")), parse_time(document.get("expiresAt"))
    conditions = (
        query.queue is None or document.get("queue", query.queue) == query.queue,
        query.statuses is None or document.get("status") in query.statuses,
        query.changed_since is None or version.value["_ts"] >= int(query.changed_since.timestamp()),
        query.due_at is None or (next_check is not None and next_check <= query.due_at),
        query.untouched_since is None or (last_updated is not None and last_updated < query.untouched_since),
        query.expired_at is None or (expires_at is not None and expires_at <= query.expired_at),
        query.run_ids is None or run_id in query.run_ids,
    )
    return all(conditions)

"""The fact store port: run headers, node records and context keys; the only source of truth."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument


@dataclass(frozen=True, slots=True)
class Stored:
    """A run header as it was read or written, with the version to replace it by."""

    document: HeaderDocument
    etag: str


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A node record with the version to replace it by."""

    record: NodeRecord
    etag: str


@dataclass(frozen=True, slots=True)
class ContextWrite:
    """One change of a context key; ``deleted`` leaves a tombstone."""

    key: str
    value: Any = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """What becomes visible at once, or not at all.

    Attributes:
        create: Records to create; each must not exist yet.
        replace: A record that replaces the stored version of the same key (If-Match).
        context: Context writes; those of one commit have distinct keys.
        seq: The writer's logical time (one more than the highest of its inputs): orders packed writes.
        base: The context writes lie beneath all that nodes write, and have no records beside them: written
            late, or again, they hide none of it. All of a run's are one commit.
    """

    create: Sequence[NodeRecord] = ()
    replace: tuple[StoredRecord, NodeRecord] | None = None
    context: Sequence[ContextWrite] = ()
    seq: int = 0
    base: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """The answer to one load: what was found; what is absent is not in the maps.

    Attributes:
        records: Found node records by node key.
        context: Found context keys that are not deleted, by key.
        input: The run's input kept outside the header (the seed's context item, or a large input).
        session: Token that proves what this read has seen.
        deleted: The context keys asked for that were deleted; a field of the run's input that one of them hid
            stays hidden.
    """

    records: Mapping[str, StoredRecord] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    input: Any = None
    session: str = ""
    deleted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HeaderQuery:
    """Which headers to list; conditions are joined by "and", ``None`` is no condition.

    Attributes:
        queue: Headers of this queue, and headers without a queue that no pool has pinned yet.
        statuses: Header statuses to list.
        changed_since: Headers written at or after this time (whole seconds).
        due_at: Headers whose ``nextCheck`` has passed at this time.
        untouched_since: Headers whose ``lastUpdated`` (ISO text or epoch) is before this time.
        expired_at: Headers whose ``expiresAt`` has passed at this time.
        run_ids: Only these runs.
    """

    queue: str | None = None
    statuses: Sequence[str] | None = None
    changed_since: datetime | None = None
    due_at: datetime | None = None
    untouched_since: datetime | None = None
    expired_at: datetime | None = None
    run_ids: Sequence[str] | None = None


class FactStore(Protocol):
    """Facts of runs. A write that returned is kept, whatever crashes afterwards.

    Values are JSON. Tokens named ``session`` are opaque; a read with a token sees at least what that token
    has seen (an empty one promises nothing). Every method raises ``BackendUnavailableError`` (unreachable or
    throttled: a write may or may not have happened) and ``BackendRefusedError`` (credentials, missing
    database or container); writes also ``PayloadTooLargeError``.
    """

    async def create_header(self, document: HeaderDocument, input_item: Any = None) -> Stored:
        """Create a run's header; a large input, never null, is stored before it as an item of its own.

        Raises:
            ConflictError: a header of this run exists.
        """
        ...

    async def read_header(self, run_id: str) -> Stored | None:
        """The newest header, or None. A header of a seed client without partition key is adopted first."""
        ...

    async def replace_header(self, stored: Stored, document: HeaderDocument) -> Stored:
        """Replace the header if it is still the stored version.

        Raises:
            PreconditionFailedError: it was changed or deleted meanwhile.
        """
        ...

    async def write_snapshot(self, run_id: str, content_hash: str, snapshot: Mapping[str, Any]) -> str:
        """Keep a large pinned blueprint as an item of its own, idempotently; gives its reference."""
        ...

    async def read_snapshot(self, run_id: str, reference: str) -> Mapping[str, Any]:
        """The snapshot written under this reference.

        Raises:
            StaleReadError: it is not visible yet.
        """
        ...

    async def load(
        self,
        run_id: str,
        *,
        nodes: Sequence[str] = (),
        context: Sequence[str] = (),
        with_input: bool = False,
        session: str = "",
    ) -> Loaded:
        """Read node records and context keys of a run, in one request where the service allows it."""
        ...

    async def resolved(
        self, run_id: str, nodes: Sequence[str], session: str = ""
    ) -> Mapping[str, NodeRecord]:
        """The records of these nodes that are completed, failed or skipped, without their outputs."""
        ...

    async def commit(self, run_id: str, commit: Commit, session: str = "") -> str:
        """Write records and context keys in one transaction; gives the session token of the commit.

        Raises:
            ConflictError: a record to create exists; nothing was written.
            PreconditionFailedError: the record to replace changed; nothing was written.
        """
        ...

    def records(self, run_id: str, session: str = "") -> AsyncIterator[Sequence[StoredRecord]]:
        """Every node record of the run, in pages, without outputs; for reconciliation and inspection."""
        ...

    def headers(self, query: HeaderQuery) -> AsyncIterator[Sequence[Stored]]:
        """Header projections (no input, no snapshot) that match, in pages."""
        ...

    async def purge(self, run_id: str) -> None:
        """Delete all facts of the run, its header last; a purge that was interrupted is done again."""
        ...

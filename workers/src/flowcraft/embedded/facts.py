"""The fact store port on SQLite. One connection sees every commit at once, so session tokens say nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from flowcraft.embedded.database import Database
from flowcraft.embedded.listing import matching_runs, page_of_headers
from flowcraft.ports.errors import (
    ConflictError,
    PayloadTooLargeError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.ports.facts import Commit, HeaderQuery, Loaded, Stored, StoredRecord
from flowcraft.records import NodeRecord
from flowcraft.times import parse_time
from flowcraft_api.wire import HeaderDocument

MAX_COMMIT_BYTES: Final = 2 * 1024 * 1024
"""What one item, and one transaction, may hold: Cosmos DB's limit, so that a flow that runs here runs there.

learn.microsoft.com/azure/cosmos-db/concepts-limits: 2 MB an item, 2 MB a transactional batch.
"""
SESSION: Final = "embedded"
HEAVY: Final = ("input", "blueprint", "adoptedKeys")
"""Parts of a header that projections leave out; in a column of their own."""

_CREATE_HEADER = """
INSERT INTO header
    (etag, queue, status, changed_at, last_updated, next_check, expires_at, document, heavy, run_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_REPLACE_HEADER = """
UPDATE header SET etag = ?, queue = ?, status = ?, changed_at = ?, last_updated = ?,
    next_check = ?, expires_at = ?, document = ?, heavy = ?
WHERE run_id = ? AND etag = ?
"""
_READ_HEADER = "SELECT etag, document, heavy FROM header WHERE run_id = ?"
_CREATE_INPUT = "INSERT INTO run_input VALUES (?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"
_READ_INPUT = "SELECT document FROM run_input WHERE run_id = ?"
_WRITE_SNAPSHOT = "INSERT INTO snapshot VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_READ_SNAPSHOT = "SELECT document FROM snapshot WHERE run_id = ? AND reference = ?"
_CREATE_RECORD = "INSERT INTO record (run_id, key, etag, status, document, output) VALUES (?, ?, ?, ?, ?, ?)"
_REPLACE_RECORD = """
UPDATE record SET etag = ?, status = ?, document = ?, output = ? WHERE run_id = ? AND key = ? AND etag = ?
"""
_READ_RECORDS = "SELECT etag, document, output FROM record WHERE run_id = ? AND key IN "
_READ_RESOLVED = "SELECT document FROM record WHERE run_id = ? AND status <> 'awaiting' AND key IN "
_PAGE_OF_RECORDS = "SELECT key, etag, document FROM record WHERE run_id = ? AND key > ? ORDER BY key LIMIT ?"
# The highest logical time stays, whoever comes last; of equal ones the later commit.
_WRITE_CONTEXT = """
INSERT INTO context (run_id, key, seq, value) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET seq = excluded.seq, value = excluded.value WHERE excluded.seq >= context.seq
"""
_READ_CONTEXT = "SELECT key, value FROM context WHERE run_id = ? AND key IN "
_PURGED = ("record", "context", "run_input", "snapshot", "header")
PAGE: Final = 200
"""Records or headers of one page."""
CHUNK: Final = 500
"""Keys asked for in one statement, below SQLite's smallest limit of parameters (999 in old builds)."""


class EmbeddedFacts:
    """Facts of runs in the file; implements the ``FactStore`` port."""

    def __init__(self, database: Database) -> None:
        """Args: the open file."""
        self._database = database

    async def create_header(self, document: HeaderDocument, input_item: Any = None) -> Stored:
        """Create a run's header, and its input's item, in one transaction."""
        run_id = _run_id(document)
        etag = self._database.nonce()
        row = self._header_row(etag, document)
        item = None if input_item is None else _encoded(input_item)

        def work(connection: sqlite3.Connection) -> None:
            if item is not None:
                connection.execute(_CREATE_INPUT, (run_id, item))
            connection.execute(_CREATE_HEADER, (*row, run_id))

        try:
            await self._database.keep(run_id, work, single=item is None)
        except sqlite3.IntegrityError:
            raise ConflictError(f"run {run_id} has a header already") from None
        return Stored(document, str(etag))

    async def read_header(self, run_id: str) -> Stored | None:
        """The header, or None."""
        rows = await self._rows(run_id, _READ_HEADER, run_id)
        if not rows:
            return None
        etag, light, heavy = rows[0]
        document = orjson.loads(light)
        if heavy is not None:
            document.update(orjson.loads(heavy))
        return Stored(document, str(etag))

    async def replace_header(self, stored: Stored, document: HeaderDocument) -> Stored:
        """Replace the header if it is still the stored version."""
        run_id = _run_id(document)
        etag = self._database.nonce()
        parameters = (*self._header_row(etag, document), run_id, int(stored.etag))

        def work(connection: sqlite3.Connection) -> None:
            if not connection.execute(_REPLACE_HEADER, parameters).rowcount:
                raise PreconditionFailedError(f"the header of run {run_id} was changed or deleted meanwhile")

        await self._database.keep(run_id, work, single=True)
        return Stored(document, str(etag))

    async def write_snapshot(self, run_id: str, content_hash: str, snapshot: Mapping[str, Any]) -> str:
        """Keep a snapshot under its hash."""
        reference = f"b:{content_hash}"
        parameters = (run_id, reference, _encoded(snapshot))
        await self._database.keep(
            run_id, lambda connection: connection.execute(_WRITE_SNAPSHOT, parameters), single=True
        )
        return reference

    async def read_snapshot(self, run_id: str, reference: str) -> Mapping[str, Any]:
        """The snapshot written under this reference."""
        rows = await self._rows(run_id, _READ_SNAPSHOT, run_id, reference)
        if not rows:
            raise StaleReadError(f"run {run_id} has no snapshot {reference}")
        return cast("Mapping[str, Any]", orjson.loads(rows[0][0]))

    async def load(
        self,
        run_id: str,
        *,
        nodes: Sequence[str] = (),
        context: Sequence[str] = (),
        with_input: bool = False,
        session: str = "",
    ) -> Loaded:
        """Read node records, context keys and the input's item, of one moment."""
        del session

        def work(connection: sqlite3.Connection) -> Loaded:
            records = {}
            for etag, document, output in _in(connection, _READ_RECORDS, run_id, nodes):
                record = _record(document, output)
                records[record.key] = StoredRecord(record, str(etag))
            found = dict(_in(connection, _READ_CONTEXT, run_id, context))
            values = {key: orjson.loads(value) for key, value in found.items() if value is not None}
            deleted = frozenset(found.keys() - values.keys()) if len(values) < len(found) else frozenset()
            row = connection.execute(_READ_INPUT, (run_id,)).fetchone() if with_input else None
            return Loaded(records, values, orjson.loads(row[0]) if row else None, SESSION, deleted)

        return await self._database.shown(run_id, work)

    async def resolved(
        self, run_id: str, nodes: Sequence[str], session: str = ""
    ) -> Mapping[str, NodeRecord]:
        """The records of these nodes that are resolved, without their outputs."""
        del session
        rows = await self._database.shown(
            run_id, lambda connection: list(_in(connection, _READ_RESOLVED, run_id, nodes))
        )
        records = (_record(row[0], None) for row in rows)
        return {record.key: record for record in records}

    async def commit(self, run_id: str, commit: Commit, session: str = "") -> str:
        """Write records and context keys in one transaction."""
        del session
        new = [(run_id, record.key, *self._record_row(record)) for record in commit.create]
        context = [
            (run_id, write.key, commit.seq, None if write.deleted else orjson.dumps(write.value))
            for write in commit.context
        ]
        replaced = None
        if commit.replace is not None:
            stored, record = commit.replace
            replaced = (*self._record_row(record), run_id, record.key, int(stored.etag))
        _check_size(value for row in (*new, *context, replaced or ()) for value in row)

        def work(connection: sqlite3.Connection) -> None:
            if replaced is not None and not connection.execute(_REPLACE_RECORD, replaced).rowcount:
                raise PreconditionFailedError(
                    f"the record of {replaced[-2]} in run {run_id} changed meanwhile"
                )
            for row in new:
                connection.execute(_CREATE_RECORD, row)
            if context:
                connection.executemany(_WRITE_CONTEXT, context)

        try:
            await self._database.keep(run_id, work, single=len(new) == 1 and not (context or replaced))
        except sqlite3.IntegrityError:
            keys = ", ".join(record.key for record in commit.create)
            raise ConflictError(f"a record of {keys} exists in run {run_id}") from None
        return SESSION

    async def records(self, run_id: str, session: str = "") -> AsyncIterator[Sequence[StoredRecord]]:
        """Every node record of the run, in pages by key, without outputs."""
        del session
        after = ""
        while True:
            rows = await self._rows(run_id, _PAGE_OF_RECORDS, run_id, after, PAGE)
            if rows:
                yield [StoredRecord(_record(document, None), str(etag)) for _, etag, document in rows]
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    async def headers(self, query: HeaderQuery) -> AsyncIterator[Sequence[Stored]]:
        """Header projections that match: which they are is asked once, what they say page by page."""
        statement, parameters = matching_runs(query)
        run_ids = [row[0] for row in await self._rows("", statement, *parameters)]
        for start in range(0, len(run_ids), PAGE):
            statement, parameters = page_of_headers(query, run_ids[start : start + PAGE])
            rows = await self._rows("", statement, *parameters)
            if rows:
                yield [Stored(orjson.loads(document), str(etag)) for etag, document in rows]

    async def purge(self, run_id: str) -> None:
        """Delete all facts of the run in one transaction."""

        def work(connection: sqlite3.Connection) -> None:
            for table in _PURGED:
                connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608

        await self._database.keep(run_id, work)

    async def _rows(self, run_id: str, statement: str, *parameters: Any) -> list[Any]:
        return await self._database.shown(
            run_id, lambda connection: connection.execute(statement, parameters).fetchall()
        )

    def _header_row(self, etag: int, document: HeaderDocument) -> tuple[Any, ...]:
        light: dict[str, Any] = dict(document)
        heavy = {name: light.pop(name) for name in HEAVY if name in light}
        now = self._database.now()
        row = (
            etag,
            light.get("queue") or "",
            light.get("status") or "",
            int(now),
            _epoch(light.get("lastUpdated")) or now,
            _epoch(light.get("nextCheck")),
            _epoch(light.get("expiresAt")),
            orjson.dumps(light),
            orjson.dumps(heavy) if heavy else None,
        )
        _check_size(row)
        return row

    def _record_row(self, record: NodeRecord) -> tuple[int, str, bytes, bytes | None]:
        document = record.to_document()
        output = document.pop("output", None)
        return (
            self._database.nonce(),
            record.status,
            orjson.dumps(document),
            None if output is None else orjson.dumps(output),
        )


def _record(document: bytes, output: bytes | None) -> NodeRecord:
    parsed = orjson.loads(document)
    if output is not None:
        parsed["output"] = orjson.loads(output)
    return NodeRecord.from_document(parsed)


def _in(
    connection: sqlite3.Connection, statement: str, run_id: str, keys: Sequence[str]
) -> Iterable[tuple[Any, ...]]:
    """Rows of these keys. Lists are filled up to powers of two, so that few statements are prepared."""
    for start in range(0, len(keys), CHUNK):
        chunk = list(keys[start : start + CHUNK])
        size = 1 << (len(chunk) - 1).bit_length()
        marks = ",".join("?" * size)
        yield from connection.execute(
            f"{statement}({marks})", (run_id, *chunk, *chunk[-1:] * (size - len(chunk)))
        )


def _run_id(document: HeaderDocument) -> str:
    return document.get("runId") or document["id"]


def _epoch(value: object) -> float | None:
    moment = parse_time(value)
    return None if moment is None else moment.timestamp()


def _encoded(item: Mapping[str, Any]) -> bytes:
    encoded = orjson.dumps(item)
    _check_size((encoded,))
    return encoded


def _check_size(values: Iterable[object]) -> None:
    size = sum(len(value) for value in values if isinstance(value, bytes))
    if size > MAX_COMMIT_BYTES:
        raise PayloadTooLargeError(
            f"{size} bytes are over the limit of {MAX_COMMIT_BYTES};"
            " store the value elsewhere and pass a reference"
        )

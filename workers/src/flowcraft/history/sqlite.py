"""Events in a SQLite file, which several processes of one machine may share."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from os import PathLike, fspath
from typing import Final, TypeVar

import orjson

from flowcraft.events import Event, event_from
from flowcraft.history.retention import Retention
from flowcraft.ports.errors import BackendUnavailableError
from flowcraft.ports.history import HistoryStats
from flowcraft.times import iso

T = TypeVar("T")
BUSY_MS: Final = 10_000
ASKED_AT_ONCE: Final = 500
"""Runs named in one statement; SQLite's own limit is 32,766 parameters."""
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY,
        execution_id TEXT NOT NULL,
        at TEXT NOT NULL,
        document TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS events_of_execution ON events (execution_id, id);
"""


class SqliteEventStore:
    """Implements ``EventStore`` on one file, opened at the first call.

    A crash of the machine may lose the last moments: a history is for looking at, and runs do not need it.
    """

    def __init__(self, path: str | PathLike[str], retention: Retention | None = None) -> None:
        """Args: the file, ``:memory:`` for one of its own; what is to be deleted after a while."""
        self._path = fspath(path)
        self._retention = retention
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    async def store(self, event: Event, execution_id: str = "") -> None:
        """Keep one event."""
        await self._call(lambda connection: _insert(connection, [(execution_id, event)]))

    async def store_many(self, events: Sequence[Event]) -> None:
        """Keep events."""
        await self._call(lambda connection: _insert(connection, [("", event) for event in events]))
        due = self._retention.due() if self._retention else None
        if due is not None:
            await self.purge(due)

    async def retrieve(self, execution_id: str) -> list[Event]:
        """All events of a run."""
        return (await self.retrieve_multiple([execution_id]))[execution_id]

    async def retrieve_multiple(self, execution_ids: Iterable[str]) -> dict[str, list[Event]]:
        """The same for several runs."""
        wanted = list(dict.fromkeys(execution_ids))
        return await self._call(lambda connection: _select(connection, wanted))

    async def stats(self) -> HistoryStats:
        """How much there is."""
        row = await self._call(
            lambda connection: connection.execute(
                "SELECT count(*), count(DISTINCT execution_id), min(at), max(at) FROM events"
            ).fetchone()
        )
        return HistoryStats(row[0], row[1], row[2] or "", row[3] or "")

    async def purge(self, before: datetime) -> int:
        """Delete what is older."""
        statement = (
            "DELETE FROM events WHERE execution_id IN "
            "(SELECT execution_id FROM events GROUP BY execution_id HAVING max(at) < ?)"
        )
        return await self._call(lambda connection: connection.execute(statement, [iso(before)]).rowcount)

    async def clear(self) -> None:
        """Delete everything."""
        await self._call(lambda connection: connection.execute("DELETE FROM events").rowcount)

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._close)

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._locked, work)

    def _locked(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                with self._connection:  # a transaction
                    return work(self._connection)
            except sqlite3.Error as error:
                raise BackendUnavailableError(f"the event store {self._path}: {error}") from None

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, timeout=BUSY_MS / 1000)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_SCHEMA)
        return connection

    def _close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _insert(connection: sqlite3.Connection, events: Sequence[tuple[str, Event]]) -> None:
    connection.executemany(
        "INSERT INTO events (execution_id, at, document) VALUES (?, ?, ?)",
        [
            (run_id or event.execution_id, event.at, orjson.dumps(event.to_document()).decode())
            for run_id, event in events
        ],
    )


def _select(connection: sqlite3.Connection, wanted: Sequence[str]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {run_id: [] for run_id in wanted}
    for start in range(0, len(wanted), ASKED_AT_ONCE):
        part = wanted[start : start + ASKED_AT_ONCE]
        marks = ", ".join("?" * len(part))
        statement = f"SELECT execution_id, document FROM events WHERE execution_id IN ({marks}) ORDER BY id"  # noqa: S608  marks
        for run_id, document in connection.execute(statement, part):
            found[run_id].append(event_from(orjson.loads(document)))
    return found

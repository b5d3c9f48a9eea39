"""Events in a PostgreSQL table, which any number of workers may share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString, TypeVar

import orjson
from psycopg import AsyncConnection, Error, OperationalError, sql

from flowcraft.events import Event, event_from
from flowcraft.history import Retention
from flowcraft.ports.errors import BackendUnavailableError
from flowcraft.ports.history import HistoryStats
from flowcraft.times import iso

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]
_SCHEMA_LOCK: Final = 0x666C6F77
"""Key of the advisory lock under which the table is made, so that workers that begin together do not race."""


class PostgresEventStore:
    """Implements ``EventStore`` on one table, which it makes at the first call.

    One connection, in the event loop of the first call; it is opened anew after it was lost. Events of one
    run that several workers told stand in the order of their times.
    """

    def __init__(
        self, conninfo: str, *, table: str = "flowcraft_events", retention: Retention | None = None
    ) -> None:
        """Args: a libpq connection string or URL; the table's name; what is to be deleted after a while."""
        self._conninfo = conninfo
        self._table = sql.Identifier(table)
        self._index = sql.Identifier(f"{table}_of_execution")
        self._retention = retention
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None

    async def store(self, event: Event, execution_id: str = "") -> None:
        """Keep one event."""
        await self._insert([(execution_id, event)])

    async def store_many(self, events: Sequence[Event]) -> None:
        """Keep events."""
        await self._insert([("", event) for event in events])
        due = self._retention.due() if self._retention else None
        if due is not None:
            await self.purge(due)

    async def retrieve(self, execution_id: str) -> list[Event]:
        """All events of a run."""
        return (await self.retrieve_multiple([execution_id]))[execution_id]

    async def retrieve_multiple(self, execution_ids: Iterable[str]) -> dict[str, list[Event]]:
        """The same for several runs."""
        found: dict[str, list[Event]] = {run_id: [] for run_id in execution_ids}
        statement = self._statement(
            "SELECT execution_id, document::text FROM {} WHERE execution_id = ANY(%s) ORDER BY at, id"
        )

        async def select(connection: Connection) -> list[tuple[Any, ...]]:
            return await (await connection.execute(statement, [list(found)])).fetchall()

        for run_id, document in await self._call(select):
            found[run_id].append(event_from(orjson.loads(document)))
        return found

    async def stats(self) -> HistoryStats:
        """How much there is."""
        statement = self._statement("SELECT count(*), count(DISTINCT execution_id), min(at), max(at) FROM {}")

        async def count(connection: Connection) -> tuple[Any, ...]:
            return await (await connection.execute(statement)).fetchone() or (0, 0, None, None)

        events, executions, oldest, newest = await self._call(count)
        return HistoryStats(events, executions, oldest or "", newest or "")

    async def purge(self, before: datetime) -> int:
        """Delete what is older."""
        statement = self._statement(
            "DELETE FROM {0} WHERE execution_id IN "
            "(SELECT execution_id FROM {0} GROUP BY execution_id HAVING max(at) < %s)"
        )

        async def delete(connection: Connection) -> int:
            return (await connection.execute(statement, [iso(before)])).rowcount

        return await self._call(delete)

    async def clear(self) -> None:
        """Delete everything."""
        statement = self._statement("TRUNCATE {}")

        async def truncate(connection: Connection) -> None:
            await connection.execute(statement)

        await self._call(truncate)

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            await self._drop()

    async def _insert(self, events: Sequence[tuple[str, Event]]) -> None:
        statement = self._statement("INSERT INTO {} (execution_id, at, document) VALUES (%s, %s, %s)")
        rows = [
            (run_id or event.execution_id, event.at, orjson.dumps(event.to_document()).decode())
            for run_id, event in events
        ]

        async def insert(connection: Connection) -> None:
            async with connection.cursor() as cursor:
                await cursor.executemany(statement, rows)

        await self._call(insert)

    async def _call(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do it in a transaction; once more on a new connection if the one that was there is gone."""
        async with self._lock:
            for kept in (self._connection is not None, False):
                try:
                    connection = self._connection or await self._open()
                    async with connection.transaction():
                        return await work(connection)
                except OperationalError as error:
                    await self._drop()
                    if not kept:
                        raise BackendUnavailableError(f"the event store in PostgreSQL: {error}") from None
                except Error as error:
                    raise BackendUnavailableError(f"the event store in PostgreSQL: {error}") from None
            raise AssertionError("the second try returns or raises")

    async def _open(self) -> Connection:
        connection = self._connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEMA_LOCK])
            await connection.execute(
                self._statement(
                    "CREATE TABLE IF NOT EXISTS {} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                    'execution_id text NOT NULL, at text COLLATE "C" NOT NULL, document json NOT NULL)'
                )
            )
            await connection.execute(
                sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (execution_id, at, id)").format(
                    self._index, self._table
                )
            )
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _statement(self, text: LiteralString) -> sql.Composed:
        return sql.SQL(text).format(self._table)

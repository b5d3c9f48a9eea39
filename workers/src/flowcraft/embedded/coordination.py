"""The coordination port on SQLite: leases in wall-clock time, joins as rows, notices read from a table."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from flowcraft.embedded.database import Database
from flowcraft.embedded.expiry import Sweeper
from flowcraft.ports.coordination import Arrival, Claim, ClaimRequest, Discharge, JoinArrival, hint_channel
from flowcraft.ports.errors import BackendUnavailableError

DONE_S: Final = 3600.0
"""How long a ``done`` mark stays."""
RUN_S: Final = 24 * 3600.0
"""How long joins and counts stay after their last use."""
NOTICE_S: Final = 60.0
"""How long a notice waits for listeners of other processes; they look at least twice a second."""

RETRY_S: Final = 1.0
"""Pause of a listener while the store is away."""

# A claim is taken when it is new, lapsed (a claim or a done mark), or the caller's own.
_CLAIM = """
INSERT INTO claim (run_id, key, token, done, until) VALUES (?, ?, ?, 0, ?)
ON CONFLICT DO UPDATE SET token = excluded.token, done = 0, until = excluded.until
    WHERE claim.until <= ? OR (claim.token = excluded.token AND claim.done = 0)
RETURNING 1
"""
_CLAIM_STATE = "SELECT done FROM claim WHERE run_id = ? AND key = ? AND until > ?"
_RENEW = "UPDATE claim SET until = ? WHERE run_id = ? AND key = ? AND token = ? AND done = 0 AND until > ?"
_HELD = "SELECT 1 FROM claim WHERE run_id = ? AND key = ? AND done = 0 AND until > ?"
_DONE = """
INSERT INTO claim (run_id, key, token, done, until) VALUES (?, ?, ?, 1, ?)
ON CONFLICT DO UPDATE SET token = excluded.token, done = 1, until = excluded.until
    WHERE claim.token = excluded.token OR claim.until <= ?
"""
_RELEASE = "DELETE FROM claim WHERE run_id = ? AND key = ? AND token = ? AND done = 0"
_COUNT = """
INSERT INTO run_count VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET until = excluded.until,
    activity = excluded.activity + iif(run_count.until > ?, run_count.activity, 0),
    progress = excluded.progress + iif(run_count.until > ?, run_count.progress, 0)
RETURNING activity
"""
_PROGRESS = "SELECT progress FROM run_count WHERE run_id = ? AND until > ?"
_JOIN = "SELECT resolved, taken, fired_by, answer FROM join_state WHERE run_id = ? AND name = ? AND until > ?"
_FORGET_JOIN = (
    "DELETE FROM join_edge WHERE run_id = ? AND name = ?",
    "DELETE FROM join_state WHERE run_id = ? AND name = ?",
)
_EDGE = "INSERT INTO join_edge VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SET_JOIN = """
INSERT INTO join_state VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET resolved = excluded.resolved, taken = excluded.taken, fired_by = excluded.fired_by,
    answer = excluded.answer, until = excluded.until
"""
_LEASE = """
INSERT INTO lease VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE lease.holder = excluded.holder OR lease.until <= ?
RETURNING 1
"""
_HEARTBEAT = """
INSERT INTO heartbeat VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET in_flight = excluded.in_flight, until = excluded.until
"""
_HEARTBEATS = "SELECT worker, in_flight FROM heartbeat WHERE queue = ? AND until > ?"
_NOTICE = "INSERT INTO notice (channel, text, at) VALUES (?, ?, ?)"
_OLD_NOTICES = "DELETE FROM notice WHERE id <= ? AND at < ?"
_NOTICES = "SELECT id, text FROM notice WHERE channel = ? AND id > ? ORDER BY id"


class EmbeddedCoordination:
    """Leases, joins and hints in the file; implements the ``Coordination`` port."""

    def __init__(self, database: Database, queue_name: str) -> None:
        """Args: the open file; the queue whose listeners get the hints of ``discharge``."""
        self._database = database
        self._hints = hint_channel(queue_name)
        self._sweeper = Sweeper()

    async def claim(self, request: ClaimRequest) -> Claim:
        """Try to claim a node key."""
        place = (request.run_id, request.key)

        def state(connection: sqlite3.Connection) -> bool | None:
            """Whether there is a done mark, or else a live claim; None is neither."""
            row = connection.execute(_CLAIM_STATE, (*place, self._database.now())).fetchone()
            return None if row is None else bool(row[0])

        def take(connection: sqlite3.Connection) -> bool:
            now = self._database.now()
            parameters = (*place, request.token, now + request.lease_s, now)
            return bool(connection.execute(_CLAIM, parameters).fetchall())

        def take_and_count(connection: sqlite3.Connection) -> bool:
            before = state(connection)
            taken = take(connection)
            if taken and before is None:
                self._count(connection, request.run_id, request.activity, 0)
            return taken

        if request.activity:
            taken = await self._database.signal(take_and_count)
        else:
            taken = await self._database.single(take)
        if taken:
            return Claim.CLAIMED
        return Claim.DONE if await self._database.read(state) else Claim.HELD

    async def renew(self, run_id: str, keys: Sequence[str], token: str, lease_s: float) -> bool:
        """Extend claims held by the token."""

        def work(connection: sqlite3.Connection) -> bool:
            now = self._database.now()
            renewed = [
                connection.execute(_RENEW, (now + lease_s, run_id, key, token, now)).rowcount for key in keys
            ]
            return all(renewed)

        return await self._database.signal(work)

    async def held(self, run_id: str, keys: Sequence[str]) -> frozenset[str]:
        """Which of the node keys somebody holds a live claim on."""
        now = self._database.now()
        return await self._database.read(
            lambda connection: frozenset(
                key for key in keys if connection.execute(_HELD, (run_id, key, now)).fetchone()
            )
        )

    async def arrive(self, arrival: JoinArrival) -> tuple[Arrival, bool]:
        """Record arrivals at a join."""
        return await self._database.signal(
            lambda connection: _arrive(connection, arrival, self._database.now())
        )

    async def discharge(self, discharge: Discharge) -> int:
        """End a delivery's work."""
        run_id, token = discharge.run_id, discharge.token

        def work(connection: sqlite3.Connection) -> int:
            now = self._database.now()
            for key in discharge.done:
                connection.execute(_DONE, (run_id, key, token, now + DONE_S, now))
            for key in discharge.released:
                connection.execute(_RELEASE, (run_id, key, token))
            if discharge.hint:
                self._publish(connection, self._hints, discharge.hint)
            self._sweeper.sweep(connection, now, len(discharge.done) + 1)
            return self._count(connection, run_id, discharge.activity, discharge.progress)

        left = await self._database.signal(work)
        if discharge.hint:
            self._database.ring()
        return left

    async def progress(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """Resolved node keys counted so far."""
        now = self._database.now()

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            found = {run_id: connection.execute(_PROGRESS, (run_id, now)).fetchone() for run_id in run_ids}
            return {run_id: row[0] for run_id, row in found.items() if row is not None}

        return await self._database.read(work)

    async def lease(self, name: str, holder: str, lease_s: float) -> bool:
        """Take or renew a named lease."""

        def work(connection: sqlite3.Connection) -> bool:
            now = self._database.now()
            return bool(connection.execute(_LEASE, (name, holder, now + lease_s, now)).fetchall())

        return await self._database.single(work)

    async def release(self, name: str, holder: str) -> None:
        """Give up a named lease if the holder has it."""
        await self._database.single(
            lambda connection: connection.execute(
                "DELETE FROM lease WHERE name = ? AND holder = ?", (name, holder)
            )
        )

    async def heartbeat(self, queue: str, worker: str, in_flight: int, ttl_s: float) -> None:
        """Tell that a worker lives."""

        def work(connection: sqlite3.Connection) -> None:
            now = self._database.now()
            connection.execute("DELETE FROM heartbeat WHERE until <= ?", (now,))
            connection.execute(_HEARTBEAT, (queue, worker, in_flight, now + ttl_s))

        await self._database.signal(work)

    async def heartbeats(self, queue: str) -> Mapping[str, int]:
        """Messages in flight by living worker of the queue."""
        parameters = (queue, self._database.now())
        return await self._database.read(
            lambda connection: dict(connection.execute(_HEARTBEATS, parameters).fetchall())
        )

    async def notify(self, channel: str, text: str) -> None:
        """Publish to whoever listens now."""
        await self._database.single(lambda connection: self._publish(connection, channel, text))
        self._database.ring()

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[str]]:
        """Texts published while the context is open."""
        (newest,) = await self._database.read(
            lambda connection: connection.execute("SELECT coalesce(max(id), 0) FROM notice").fetchone()
        )
        texts = self._texts(channel, newest)
        try:
            yield texts
        finally:
            await texts.aclose()

    async def forget(self, run_id: str) -> None:
        """Drop all keys of a run."""

        def work(connection: sqlite3.Connection) -> None:
            for table in ("claim", "join_edge", "join_state", "run_count"):
                connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608

        await self._database.signal(work)

    def _count(self, connection: sqlite3.Connection, run_id: str, activity: int, progress: int) -> int:
        now = self._database.now()
        rows = connection.execute(_COUNT, (run_id, activity, progress, now + RUN_S, now, now)).fetchall()
        return int(rows[0][0])

    def _publish(self, connection: sqlite3.Connection, channel: str, text: str) -> None:
        now = self._database.now()
        newest = connection.execute(_NOTICE, (channel, text, now)).lastrowid or 0
        if newest % 64 == 0:
            connection.execute(_OLD_NOTICES, (newest, now - NOTICE_S))

    async def _texts(self, channel: str, newest: int) -> AsyncGenerator[str, None]:
        def published(connection: sqlite3.Connection) -> list[tuple[int, str]]:
            return connection.execute(_NOTICES, (channel, newest)).fetchall()

        def due(connection: sqlite3.Connection) -> float:
            return 0.0 if published(connection) else math.inf

        while not self._database.closed:
            try:
                rows = await self._database.read(published)
                if not rows:
                    await self._database.changed(math.inf, due)
            except BackendUnavailableError:
                await self._database.clock.sleep(RETRY_S)
                continue
            for number, text in rows:
                newest = number
                yield text


def _arrive(connection: sqlite3.Connection, arrival: JoinArrival, now: float) -> tuple[Arrival, bool]:
    place = (arrival.run_id, arrival.join)
    row = connection.execute(_JOIN, (*place, now)).fetchone()
    resolved, taken, fired_by, answer = row or (0, 0, None, None)
    if row is None:
        for statement in _FORGET_JOIN:
            connection.execute(statement, place)  # what is left of a lapsed one
    for edge, is_taken in arrival.states.items():
        if connection.execute(_EDGE, (*place, edge, is_taken)).rowcount:
            resolved += 1
            taken += is_taken
    if fired_by is not None:
        result = Arrival(answer) if fired_by == arrival.edge else Arrival.FIRED
    elif resolved >= arrival.expected:
        result = Arrival.READY if taken else Arrival.DEAD
    else:
        result = Arrival.READY if taken and arrival.first_taken_fires else Arrival.OPEN
    if fired_by is None and result is not Arrival.OPEN:
        fired_by, answer = arrival.edge, result.value
    connection.execute(_SET_JOIN, (*place, resolved, taken, fired_by, answer, now + RUN_S))
    return result, row is None

"""One connection on the event loop's thread: transactions, their durability, and what wakes who waits.

A transaction in the page cache takes some 20 µs, less than handing it to a thread and back, so transactions
run where they are called. What may take long is kept off the loop: syncs (``durability.py``), checkpoints,
and locks of other processes, which are awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from flowcraft.embedded import schema
from flowcraft.embedded.durability import Checkpointer, LogSync, sync_file
from flowcraft.embedded.failures import is_busy, translated
from flowcraft.embedded.filesystem import network_file_system
from flowcraft.ports.clock import Clock
from flowcraft.ports.errors import BackendRefusedError, BackendUnavailableError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

LOCK_TIMEOUT_S: Final = 10.0
"""How long a lock of another process is awaited before the store counts as unavailable."""
POLL_MIN_S: Final = 0.02
POLL_MAX_S: Final = 0.5
"""Bounds of the pause between two looks (some 3 µs each) for what other processes committed."""
MAX_SLEEP_S: Final = 3600.0
"""Longest sleep where there are no other processes."""


class Database:
    """An open file (or memory) and everything that the three ports share."""

    def __init__(
        self, path: str, clock: Clock, rng: random.Random, sync: Callable[[int], None] = sync_file
    ) -> None:
        """Args: a path or ``:memory:``; time; randomness for etags and receipts; how a file is synced."""
        self.in_memory = path == ":memory:"
        # SQLite names the log after the file that a link points to.
        self.path = path if self.in_memory else os.path.realpath(path)
        self.clock = clock
        self._random = rng
        self._sync_file = sync
        self._connection: sqlite3.Connection | None = None
        self._log: LogSync | None = None
        self._checkpointer: Checkpointer | None = None
        self._unsynced: dict[str, int] = {}  # by run: the batch of syncs that its last commit waits for
        self._seen_version = 0
        self._bells: set[asyncio.Future[None]] = set()

    async def open(self) -> None:
        """Open the file, creating it with its folder if needed.

        Raises:
            BackendRefusedError: it cannot or must not be used; the text says what to do.
            BackendUnavailableError: it stays locked, or the disk fails.
        """
        if self.in_memory:
            self._connection = self._opened()
        else:
            self._connection = await asyncio.to_thread(self._opened)
            self._log = LogSync(f"{self.path}-wal", self._sync_file)
            self._checkpointer = Checkpointer(self.path)
            await self._log.synced()
            self._seen_version = self._version()

    async def close(self) -> None:
        """Make everything durable and give the file up; the last process to close it empties the log."""
        connection, self._connection = self._connection, None
        if self._checkpointer is not None:
            await self._checkpointer.close()
        if self._log is not None:
            await self._log.close()
        if connection is not None and self.in_memory:
            connection.close()
        elif connection is not None:
            await asyncio.to_thread(connection.close)
        self.ring()

    @property
    def closed(self) -> bool:
        """Whether it is not open (any more)."""
        return self._connection is None

    def now(self) -> float:
        """Wall-clock time, seconds since the epoch."""
        return self.clock.now().timestamp()

    def nonce(self) -> int:
        """A number that is in no row yet, for ids, etags and receipts."""
        return self._random.getrandbits(62)

    async def read(self, work: Work[T]) -> T:
        """Run statements that only read."""
        return await self._run(self._query, work)

    async def shown(self, run_id: str, work: Work[T]) -> T:
        """Read facts of a run (empty: of any run); returns when what was read survives power loss.

        Facts are visible a moment before they are synced, and who acts on them, or shows them, must not be
        ahead of what is kept. Other processes' commits are not told apart by run.
        """
        result = await self._run(self._query, work)
        if self._log is not None:
            self._log.check()
            version = self._version()
            if version != self._seen_version or self._is_unsynced(self._log, run_id):
                await self._log.synced()
                self._seen_version = version
        return result

    async def signal(self, work: Work[T]) -> T:
        """Run one transaction of signals: atomic, seen by all processes, lost if the power goes."""
        return await self._run(self._transact, work)

    async def single(self, work: Work[T]) -> T:
        """Like ``signal``, for work that is one writing statement: that is a transaction by itself."""
        return await self._run(self._autocommit, work)

    async def keep(self, run_id: str, work: Work[T], *, single: bool = False) -> T:
        """Run one transaction of facts of a run; returns when it survives power loss.

        Args:
            run_id: The run.
            work: What to do in it.
            single: It is one writing statement.

        Raises:
            BackendUnavailableError: the disk failed, now or before: what was written may or may not be kept.
        """
        log = self._log
        if log is None:
            return await self._run(self._autocommit if single else self._transact, work)
        log.check()
        result = await self._run(self._autocommit if single else self._transact, work)
        self._unsynced[run_id] = batch = log.collecting
        await log.synced()
        if self._unsynced.get(run_id) == batch:
            del self._unsynced[run_id]
        return result

    def _is_unsynced(self, log: LogSync, run_id: str) -> bool:
        """Whether facts of a run (empty: of any) that this process committed are not on the disk yet."""
        batches = (self._unsynced.get(run_id, 0),) if run_id else self._unsynced.values()
        return any(batch > log.completed for batch in batches)

    def ring(self) -> None:
        """Wake whoever waits in ``changed``."""
        if self._bells:
            bells, self._bells = self._bells, set()
            for bell in bells:
                _set(bell)

    async def changed(self, timeout_s: float, due: Callable[[sqlite3.Connection], float]) -> None:
        """Return when something is due, at the latest after ``timeout_s``.

        Args:
            timeout_s: Seconds by the injected clock.
            due: Seconds until it is due as far as is known now: 0 or less is now, infinity is never.

        Changes of this process ring; those of others are seen in `PRAGMA data_version`, looked at every
        ``POLL_MIN_S``, backing off to ``POLL_MAX_S``.
        """
        deadline = self.clock.monotonic() + timeout_s
        pause_s = POLL_MIN_S
        version, due_at = -1, deadline
        rung = True
        while self._connection is not None:
            seen = self._version()
            if rung or seen != version:
                version = seen
                due_at = min(deadline, self.clock.monotonic() + await self.read(due))
            left_s = due_at - self.clock.monotonic()
            if left_s <= 0:
                return
            rung = await self._rung(min(MAX_SLEEP_S if self._log is None else pause_s, left_s))
            pause_s = min(pause_s * 1.5, POLL_MAX_S)

    async def _rung(self, seconds: float) -> bool:
        """Sleep, or return True when somebody rings."""
        bell = asyncio.get_running_loop().create_future()
        sleeper = asyncio.ensure_future(self.clock.sleep(seconds))
        sleeper.add_done_callback(lambda _: _set(bell))
        self._bells.add(bell)
        try:
            await bell
            return not sleeper.done()
        finally:
            self._bells.discard(bell)
            sleeper.cancel()

    def _opened(self) -> sqlite3.Connection:
        if not self.in_memory:
            folder = os.path.dirname(self.path)
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise BackendRefusedError(
                    f"{folder} cannot be created ({error}); choose another file (--db)"
                ) from error
            kind = network_file_system(Path(folder))
            if kind is not None:
                raise BackendRefusedError(
                    f"{self.path} is on a network file system ({kind}), where SQLite loses data;"
                    " put it on a local disk (--db), or use the Azure backend"
                )
        try:
            connection = schema.connect(self.path)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        try:
            schema.prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise BackendUnavailableError(f"{self.path} is closed")
        return self._connection

    def _version(self) -> int:
        if self._connection is None:
            return -1
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _transact(self, work: Work[T]) -> T:
        connection = self._open_connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        if self._checkpointer is not None:
            self._checkpointer.count()
        return result

    def _autocommit(self, work: Work[T]) -> T:
        result = work(self._open_connection())
        if self._checkpointer is not None:
            self._checkpointer.count()
        return result

    def _query(self, work: Work[T]) -> T:
        return work(self._open_connection())

    async def _run(self, act: Callable[[Work[T]], T], work: Work[T]) -> T:
        pause_s = 0.0002
        deadline: float | None = None
        while True:
            try:
                return act(work)
            except sqlite3.Error as error:
                # In real time, whatever the clock says: it is another connection that holds the lock.
                deadline = deadline or time.monotonic() + LOCK_TIMEOUT_S
                if not is_busy(error) or time.monotonic() > deadline:
                    raise translated(error, self.path) from error
            await asyncio.sleep(pause_s * (0.5 + self._random.random()))
            pause_s = min(pause_s * 2, 0.02)


def _set(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)

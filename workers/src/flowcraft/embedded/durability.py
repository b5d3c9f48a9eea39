"""Making commits survive power loss, off the event loop.

SQLite commits with ``synchronous=NORMAL``: a transaction is in the write-ahead log, in order, checked by
sums, but not yet on the disk. What ``synchronous=FULL`` adds is one sync of that log per transaction, made by
the thread that commits. Here one thread makes it for all transactions that wait at that moment: the event
loop never waits for a disk, commits of concurrent runs share a sync, and signals, which may be lost, need
none.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from flowcraft.embedded import schema
from flowcraft.ports.errors import BackendUnavailableError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

RESTART_PAGES: Final = 8_000
"""Pages in the log (of 4 KiB) from which it is restarted even though that stops all writers for a moment."""


_Batch = list["asyncio.Future[None]"]


def sync_file(descriptor: int) -> None:
    """Return when what was written to the file before is on the disk."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # Apple's fsync stops at the disk's cache
    if full is not None:
        fcntl.fcntl(descriptor, full)
    else:
        getattr(os, "fdatasync", os.fsync)(descriptor)


class LogSync:
    """A thread that syncs the write-ahead log for whoever waits.

    Waits of one turn of the event loop go to the thread together. When a sync fails, nobody can tell what of
    the log is on the disk (Linux drops the failed pages), so all later waits fail until the file is opened
    again.

    Attributes:
        collecting: Number of the batch that waits are added to now.
        completed: Number of the last batch that was synced.
    """

    def __init__(self, log_path: str, sync: Callable[[int], None] = sync_file) -> None:
        """Args: the path of an existing log; how to sync a file (replaced in tests that cut the power)."""
        self.collecting = 1
        self.completed = 0
        self._loop = asyncio.get_running_loop()
        self._sync = sync
        self._descriptor = os.open(log_path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        self._log_path = log_path
        self._batch: _Batch = []
        self._batches: queue.SimpleQueue[tuple[int, _Batch]] = queue.SimpleQueue()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="flowcraft-log-sync", daemon=True)
        self._thread.start()

    def synced(self) -> asyncio.Future[None]:
        """Done when every transaction committed before this call is on the disk.

        Raises (through the future):
            BackendUnavailableError: the disk failed; what was committed may or may not be kept.
        """
        future = self._loop.create_future()
        if not self._batch:
            self._loop.call_soon(self._submit)
        self._batch.append(future)
        return future

    def check(self) -> None:
        """Tell of an earlier failure.

        Raises:
            BackendUnavailableError: a sync failed.
        """
        if self._failure is not None:
            raise BackendUnavailableError(
                f"{self._log_path} could not be synced ({self._failure}); check the disk, then restart"
            )

    async def close(self) -> None:
        """Sync for those who still wait, and end the thread."""
        self._submit()
        self._batches.put((0, []))
        await asyncio.to_thread(self._thread.join)
        os.close(self._descriptor)

    def _submit(self) -> None:
        if self._batch:
            self._batches.put((self.collecting, self._batch))
            self.collecting += 1
            self._batch = []

    def _run(self) -> None:
        number = 1
        while number:
            number, futures = self._batches.get()
            last = number
            while number and not self._batches.empty():
                number, more = self._batches.get()
                futures += more
                last = number or last
            if futures and self._failure is None:
                try:
                    self._sync(self._descriptor)
                except OSError as error:
                    self._failure = error
            if futures:
                self._loop.call_soon_threadsafe(self._settle, last, futures)

    def _settle(self, number: int, futures: _Batch) -> None:
        if self._failure is None:
            self.completed = number
        for future in futures:
            if future.done():
                continue
            try:
                self.check()
            except BackendUnavailableError as error:
                future.set_exception(error)
            else:
                future.set_result(None)


LOG_BYTES: Final = 64 * 1024 * 1024
"""The log is cut to this when it restarts; from twice as much on, a checkpoint waits for few writes."""
_LOOK_EVERY_WRITES: Final = 32


class Checkpointer:
    """Moves the log's pages into the file, in a thread and on a connection of its own.

    It also makes the first commit after the log restarts: that one syncs the log's new header, which a commit
    on the event loop must not wait for.
    """

    def __init__(self, path: str, every_writes: int = 4000) -> None:
        """Args: the file; after how many write transactions of this process a checkpoint starts."""
        self._path = path
        self._every_writes = every_writes
        self._writes = 0
        self._task: asyncio.Task[None] | None = None

    def count(self) -> None:
        """Tell that a transaction was committed."""
        self._writes += 1
        due = self._writes >= self._every_writes or (
            self._writes % _LOOK_EVERY_WRITES == 0 and self._log_bytes() >= 2 * LOG_BYTES
        )
        if due and (self._task is None or self._task.done()):
            self._writes = 0
            self._task = asyncio.create_task(asyncio.to_thread(self.checkpoint), name="flowcraft-checkpoint")

    def _log_bytes(self) -> int:
        try:
            return os.stat(f"{self._path}-wal").st_size
        except OSError:
            return 0

    def checkpoint(self) -> None:
        """Checkpoint now; a lock held elsewhere or a failing disk leaves it to the next time."""
        try:
            connection = schema.connect(self._path)
            try:
                _checkpoint(connection)
            finally:
                connection.close()
        except sqlite3.Error:
            return  # the log stays as it is, nothing is lost; a failing disk shows itself to the next commit

    async def close(self) -> None:
        """Wait for a checkpoint under way."""
        if self._task is not None:
            await self._task


def _checkpoint(connection: sqlite3.Connection) -> None:
    busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if busy:
        return
    connection.execute("PRAGMA busy_timeout = 2000")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    if pages >= RESTART_PAGES:
        # Where writers never pause, the log never starts again by itself. Little is left to move by now.
        busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    if not busy and moved == pages:
        connection.execute("UPDATE checkpoint SET completed = completed + 1")

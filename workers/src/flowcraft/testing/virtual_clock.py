"""A clock whose time passes only when nothing else can happen: a sleep of seven days takes milliseconds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from flowcraft.memory.options import RunOptions

T = TypeVar("T")
QUIET_TURNS: Final = 100
"""Turns of the event loop without anything new, after which whoever could go on has gone on."""
START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """The ``Clock`` port for tests: ``RunOptions(clock=…)``, or ``clock.options()``.

    Time jumps to the next alarm when nothing in the event loop wants to go on. Synchronous nodes are waited
    for if they run in the clock's ``threads``. A node that awaits something outside the process, a server for
    example, cannot be seen: use the real clock there.

    Attributes:
        threads: Where synchronous nodes run, so that the clock knows of them.
    """

    def __init__(self, start: datetime = START) -> None:
        """Args: when time begins, with a time zone."""
        self._start = start
        self._elapsed_s = 0.0
        self._alarms: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self._mover: asyncio.Task[None] | None = None
        self.threads = _WatchedThreads()

    def options(self, **more: Any) -> RunOptions:
        """Options of a run in this clock's time; ``more`` is as of ``RunOptions``."""
        return RunOptions(clock=self, threads=self.threads, **more)

    def now(self) -> datetime:
        """Virtual wall-clock time."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Virtual seconds since the beginning."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Return when virtual time has come so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        alarm: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._alarms, (self._elapsed_s + seconds, next(self._number), alarm))
        if self._mover is None or self._mover.done():
            self._mover = loop.create_task(self._move())
        await alarm

    async def _move(self) -> None:
        while self._alarms:
            await self._until_quiet()
            while self._alarms and self._alarms[0][2].done():
                heapq.heappop(self._alarms)  # whoever slept was cancelled
            if self._alarms:
                self._elapsed_s, _, alarm = heapq.heappop(self._alarms)
                alarm.set_result(None)

    async def _until_quiet(self) -> None:
        turns = 0
        while turns < QUIET_TURNS:
            if self.threads.busy:
                turns = 0
                await asyncio.sleep(0.0005)
            else:
                turns += 1
                await asyncio.sleep(0)


class _WatchedThreads(ThreadPoolExecutor):
    """Threads that know how many of them work."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="node")
        self._count = threading.Lock()
        self.busy = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        with self._count:
            self.busy += 1
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: Future[Any]) -> None:
        with self._count:
            self.busy -= 1

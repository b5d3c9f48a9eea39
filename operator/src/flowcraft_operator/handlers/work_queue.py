"""A keyed work queue: one worker at a time for each key, with the newest state, until it is quiet."""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from flowcraft_operator.kube.errors import KubeError

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 60.0

_log = logging.getLogger(__name__)


class WorkQueue(Generic[Key]):
    """Runs `handle(key)` for every key that was added, at least once after its last addition.

    A key added many times while it waits is handled once; added while it is handled, once more after that.
    `handle` may return seconds after which to handle the key again. One that raises is handled again after a
    pause that doubles from time to time.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[Key], Awaitable[float | None]],
        *,
        workers: int,
        failed: Callable[[str, Exception], None] = lambda _name, _error: None,
    ) -> None:
        self.name = name
        self._handle = handle
        self._workers = workers
        self._failed = failed
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._running: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._counter = 0
        self._wake = asyncio.Event()
        self._rest = asyncio.Event()

    def add(self, key: Key, delay_s: float = 0.0) -> None:
        """Have a key handled, now or after a delay; an earlier time wins over a later one."""
        if delay_s > 0:
            self._schedule(key, delay_s)
        elif key in self._running:
            self._again.add(key)
        else:
            self._due.pop(key, None)
            self._ready[key] = None
            self._wake.set()

    def forget(self, key: Key) -> None:
        """Drop what is planned for a key; a handling that is under way goes on."""
        self._ready.pop(key, None)
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._again.discard(key)

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._ready)

    @property
    def oldest_running_s(self) -> float:
        """For how long the slowest handling has been going on; 0 if none is."""
        now = asyncio.get_running_loop().time()
        return max((now - since for since in self._running.values()), default=0.0)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._workers):
                tasks.create_task(self._work(), name=f"{self.name}-{number}")
            tasks.create_task(self._keep_time(), name=f"{self.name}-timers")

    async def _work(self) -> None:
        while True:
            while not self._ready:
                self._wake.clear()
                await self._wake.wait()
            key, _ = self._ready.popitem(last=False)
            self._due.pop(key, None)
            self._running[key] = asyncio.get_running_loop().time()
            try:
                delay_s = await self._handled(key)
            finally:
                del self._running[key]
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay_s is not None:
                self.add(key, max(delay_s, 0.05))

    async def _handled(self, key: Key) -> float | None:
        try:
            delay_s = await self._handle(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self._failed(self.name, error)
            # What is expected, such as an API server that is away, needs no trace of where it was noticed.
            trace = not isinstance(error, KubeError)
            _log.error(
                "%s: %s is tried again (failure %d): %s", self.name, key, failures, error, exc_info=trace
            )
            backoff_s = min(FIRST_BACKOFF_S * 2 ** min(failures - 1, 20), LONGEST_BACKOFF_S)
            return float(backoff_s * (0.75 + random.random() / 2))  # noqa: S311 - jitter
        self._failures.pop(key, None)
        return delay_s

    def _schedule(self, key: Key, delay_s: float) -> None:
        due = asyncio.get_running_loop().time() + delay_s
        if key in self._ready or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._counter += 1
        heapq.heappush(self._timers, (due, self._counter, key))
        self._rest.set()

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._rest.clear()
            now = loop.time()
            while self._timers and self._timers[0][0] <= now:
                due, _, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            timeout_s = self._timers[0][0] - now if self._timers else None
            try:
                async with asyncio.timeout(timeout_s):  # wait_for of 3.11 may lose a cancellation
                    await self._rest.wait()
            except TimeoutError:
                continue

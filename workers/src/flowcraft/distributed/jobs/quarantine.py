"""Quarantine: a delivery that may be what ended its workers runs alone, so that nobody else pays for it.

Whatever a worker holds when it dies was delivered once without an end. After a few of those nobody can tell
which message was the reason, unless it is the only one that is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

SUSPECT_FROM: Final = 3
"""From this unexplained delivery on a message is suspected."""
ALONE_S: Final = 60.0
"""How long a suspected delivery keeps a worker to itself; what kills a worker mostly does so at once."""


class Quarantine:
    """Of one worker: who may run beside whom."""

    def __init__(self, wait_s: float, opened: Callable[[], None]) -> None:
        """Args: how long a suspected delivery waits for those in work; what to call when it is over."""
        self._wait_s = wait_s
        self._opened = opened
        self._others = 0
        self._left = asyncio.Event()
        self._occupied = False
        self._shut = False

    @property
    def closed(self) -> bool:
        """A suspected delivery is in work or waits to be: nothing else is to be received."""
        return self._shut

    @asynccontextmanager
    async def admitted(self, *, suspected: bool) -> AsyncIterator[bool]:
        """Work on a delivery meanwhile; False if it is suspected and another one is alone here already."""
        if not suspected:
            with self._beside():
                yield True
        elif self._occupied:  # also when it has been alone for long, and others are let in
            yield False
        else:
            async with self._alone():
                yield True

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        self._occupied = self._shut = True
        timer: asyncio.TimerHandle | None = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    while self._others:
                        self._left.clear()
                        await self._left.wait()
            timer = asyncio.get_running_loop().call_later(ALONE_S, self._open)
            with self._beside():
                yield
        finally:
            if timer is not None:
                timer.cancel()
            self._occupied = False
            self._open()

    @contextmanager
    def _beside(self) -> Iterator[None]:
        self._others += 1
        try:
            yield
        finally:
            self._others -= 1
            self._left.set()

    def _open(self) -> None:
        if self._shut:
            self._shut = False
            self._opened()

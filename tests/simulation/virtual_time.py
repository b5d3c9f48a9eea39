"""An event loop whose time is its own: it jumps to the next timer, so hours pass in milliseconds.

Nothing outside the process takes part: no files, no sockets, no threads. With the same callbacks the loop
does the same in the same order each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

T = TypeVar("T")
EPOCH: Final = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


class DeadlockError(Exception):
    """Nothing is ready and no timer is set: nothing would ever happen again."""


class _Jump:
    """Stands in for the selector: instead of waiting for a file, it moves time."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise DeadlockError("nothing is ready and no timer is set")
        self._loop.jump(timeout)
        return []


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """Runs callbacks in order and timers at their time, which passes only when nothing is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._elapsed_s = 0.0
        self._selector = _Jump(self)

    def time(self) -> float:
        return self._elapsed_s

    def jump(self, seconds: float) -> None:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if seconds > 0 and scheduled:
            # Exactly to the timer: sums of floats would let it miss its time by a hair, again and again.
            self._elapsed_s = max(self._elapsed_s, scheduled[0].when())

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class VirtualClock:
    """The ``Clock`` port on the loop that runs."""

    def __init__(self, skew_s: float = 0.0) -> None:
        """Args: by how much its wall clock is ahead of the others'."""
        self._skew = timedelta(seconds=skew_s)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic()) + self._skew

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

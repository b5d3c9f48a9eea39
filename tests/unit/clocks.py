"""Clocks for tests of one node: time passes at once, or only when nothing else can happen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class SteppingClock:
    """Implements the ``Clock`` port: every sleep moves time and returns after the loop's other turns.

    ``slept`` lists the seconds of each sleep that ran to its end, in order.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 8, 0, tzinfo=UTC) + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        for _ in range(50):  # whoever can run without time passing runs first
            await asyncio.sleep(0)
        self._elapsed_s += seconds
        self.slept.append(seconds)


class StillClock(SteppingClock):
    """Time never passes: no timeout ever ends."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.get_running_loop().create_future()


class FixedRandom:
    """Implements the executor's ``Random``."""

    def __init__(self, value: float = 0.0) -> None:
        self._value = value

    def random(self) -> float:
        return self._value

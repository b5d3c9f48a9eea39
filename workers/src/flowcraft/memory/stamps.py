"""The time as records have it, by a run's clock."""

from __future__ import annotations

from typing import Final

from flowcraft.ports.clock import Clock
from flowcraft.times import iso

_MILLISECOND_US: Final = 1000


class Stamps:
    """Times as text; most are asked for within the millisecond of another, and are that one."""

    __slots__ = ("_clock", "_monotonic", "_text", "_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic
        self._text = ""
        self._until = float("-inf")

    def now(self) -> str:
        """ISO-8601 UTC with milliseconds."""
        reading = self._monotonic()
        if reading >= self._until:
            now = self._clock.now()
            self._until = reading + (_MILLISECOND_US - now.microsecond % _MILLISECOND_US) / 1e6
            self._text = iso(now)
        return self._text

"""What lies between a process and the services: every call of a port goes through its process's link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from flowcraft.ports import Clock

T = TypeVar("T")


class Link(Protocol):
    """Carries calls; a simulation delays, loses or never answers them."""

    async def call(self, name: str, effect: Callable[[], T], tell: Callable[[T], str] | None = None) -> T:
        """Let the effect happen at one moment, and give its result; ``tell`` puts it in words."""
        ...

    async def wait(self, seconds: float) -> None:
        """Let time pass, at most so much."""
        ...


class PerfectLink:
    """Every call happens at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def call(self, _name: str, effect: Callable[[], T], _tell: Callable[[Any], str] | None = None) -> T:
        return effect()

    async def wait(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

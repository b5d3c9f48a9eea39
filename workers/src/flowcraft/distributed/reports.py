"""What running nodes say of their progress: kept in coordination, where losing it costs nothing.

A report is two numbers in the one that a heartbeat carries, under a name of the run's own: no port has to
know of it, and it goes away by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from flowcraft.ports.errors import BackendUnavailableError

if TYPE_CHECKING:
    from flowcraft.distributed.services import Services
    from flowcraft.ports import Coordination

REPORT_EVERY_S: Final = 5.0
"""Seconds between two reports of one node; what is said meanwhile, the newest word of it, waits."""
REPORT_TTL_S: Final = 3600.0
"""How long a word stands whose node says no other; one that ends takes its word away."""
_BITS: Final = 26
_LARGEST: Final = 2**_BITS - 1


class NodeReports:
    """Passes on what one node key says while it executes."""

    def __init__(self, services: Services, run_id: str, key: str) -> None:
        self._services = services
        self._name = _name(run_id)
        self._key = key
        self._said: tuple[float, float] = (0.0, 1.0)
        self._fresh = False
        self._task: asyncio.Task[None] | None = None

    def note(self, done: float, total: float) -> None:
        """Take the newest word; it is passed on now, or some seconds after the one before."""
        self._said, self._fresh = (done, total), True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._pass_on())

    async def end(self) -> None:
        """The node has ended: take its word away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._send(0.0)

    async def _pass_on(self) -> None:
        while self._fresh:
            self._fresh = False
            await self._send(REPORT_TTL_S)
            await self._services.clock.sleep(REPORT_EVERY_S)

    async def _send(self, ttl_s: float) -> None:
        try:
            await self._services.coordination.heartbeat(self._name, self._key, packed(*self._said), ttl_s)
        except BackendUnavailableError:
            return  # the next word is as good


async def reported(coordination: Coordination, run_id: str) -> Mapping[str, tuple[float, float]]:
    """What the running nodes of a run said last, as done and total by node key."""
    try:
        found = await coordination.heartbeats(_name(run_id))
    except BackendUnavailableError:
        return {}
    return {key: unpacked(number) for key, number in found.items()}


def packed(done: float, total: float) -> int:
    """Two numbers as one of 52 bits; large ones and shares are scaled, so that their quotient stays."""
    if not (math.isfinite(done) and math.isfinite(total)) or total <= 0:
        done, total = 0.0, 1.0
    done = min(max(done, 0.0), total)
    if not (float(done).is_integer() and float(total).is_integer()) or total > _LARGEST:
        done, total = round(1000 * done / total), 1000
    return int(done) << _BITS | int(total)


def unpacked(number: int) -> tuple[float, float]:
    """What ``packed`` made one number of."""
    return number >> _BITS, number & _LARGEST


def _name(run_id: str) -> str:
    return f"progress:{{{run_id}}}"

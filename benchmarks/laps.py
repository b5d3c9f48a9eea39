"""A lap: so many runs of one workflow, so many of them at a time, measured from first start to last end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.workflows import WORKFLOWS

LAP_TIMEOUT_S: Final = 300.0
CONCURRENCY: Final = 16
"""Messages a worker holds at a time: the product's default, and what the contestants are held to."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a lap runs.

    Attributes:
        workflow: Name of the workflow.
        runs: How many runs in all.
        at_once: How many of them are under way at a time.
    """

    workflow: str
    runs: int
    at_once: int

    @property
    def nodes(self) -> int:
        """Nodes that the lap executes."""
        return self.runs * WORKFLOWS[self.workflow].nodes


@dataclass(frozen=True, slots=True)
class Lap:
    """What a lap cost.

    Attributes:
        nodes: Nodes executed.
        seconds: From the first start to the last end.
        cpu_s: CPU seconds of the contestant's process, all threads.
        peak_bytes: Largest resident memory of the process so far.
        requests: By service, then by operation, what was sent.
    """

    nodes: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    requests: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def nodes_per_s(self) -> float:
        """Nodes a second."""
        return self.nodes / self.seconds

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Lap:
        """Read what ``dataclasses.asdict`` made."""
        return cls(**document)


WARM_UP: Final = Load("fan8", 4, 4)
"""Run before each lap, off the clock: connections, subscriptions and scripts are there then."""


class Stopwatch:
    """Wall-clock and CPU time since it was made."""

    def __init__(self) -> None:
        self._cpu_s = time.process_time()
        self._started = time.perf_counter()

    def lap(self, load: Load, requests: Mapping[str, Mapping[str, int]] | None = None) -> Lap:
        """The lap that ends now."""
        seconds = time.perf_counter() - self._started
        cpu_s = time.process_time() - self._cpu_s
        return Lap(load.nodes, seconds, cpu_s, peak_bytes(), requests or {})


async def keep_busy(load: Load, run_one: Callable[[], Awaitable[None]]) -> None:
    """Run all runs of a load, a new one as soon as another ends.

    Raises:
        TimeoutError: they did not end within five minutes.
    """
    left = iter(range(load.runs))

    async def lane() -> None:
        for _ in left:
            await run_one()

    async with asyncio.timeout(LAP_TIMEOUT_S):
        await asyncio.gather(*(lane() for _ in range(min(load.at_once, load.runs))))


def peak_bytes() -> int:
    """Largest resident memory of this process so far (``VmHWM`` of proc(5), which starts anew at exec)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024

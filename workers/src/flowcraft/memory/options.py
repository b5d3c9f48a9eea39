"""How a run in memory is carried out, as its caller says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from flowcraft.clock import SystemClock
from flowcraft.errors import AppError
from flowcraft.memory.control import RunControl
from flowcraft.ports.clock import Clock

DEFAULT_CONCURRENCY: Final = 16


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out.

    Attributes:
        run_id: Its id; a new one by default.
        concurrency: Nodes that execute at a time.
        clock: Time; the machine's by default.
        random: Jitter of retry delays; a source of the runtime's own by default.
        targets: Node ids: only they and what lies before them run; all nodes by default.
        inputs: Inputs of nodes, by id or key, instead of those that the blueprint gives them.
        control: Pauses or cancels the run from outside.
        signal: Cancels the run when it is set.
        strict: Refuse a blueprint with a cycle.
        threads: Where synchronous nodes run; a pool of the run's own by default.
    """

    run_id: str = ""
    concurrency: int = DEFAULT_CONCURRENCY
    clock: Clock = field(default_factory=SystemClock)
    random: Random | None = None
    targets: Collection[str] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    control: RunControl | None = None
    signal: asyncio.Event | None = None
    strict: bool = False
    threads: Executor | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise AppError(f"concurrency must be 1 or more, not {self.concurrency}")

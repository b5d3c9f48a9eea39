"""The backends that the contract is checked on. To add one: write a factory, name it in ``BACKENDS``.

A factory gets the fixture request (for ``tmp_path``, ``stand_ins``, ``unique_name``) and gives an async
context with a ``BackendUnderTest`` whose queue and poison queue are empty. Facts and coordination may be
shared with other tests: each test uses run ids, lease names and channels of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import pytest
from tests.contract.manual_clock import ManualClock
from tests.emulators.stand_ins import StandIns
from tests.simulation.link import PerfectLink
from tests.simulation.ports.coordination import CoordinationServer, SimulatedCoordination
from tests.simulation.ports.facts import FactServer, SimulatedFacts
from tests.simulation.ports.queue import QueueServer, SimulatedQueue
from tests.simulation.ports.values import SimulatedValues, ValueServer

from flowcraft.clock import SystemClock
from flowcraft.embedded import open_embedded
from flowcraft.large_values import LargeValueFacts
from flowcraft.ports import Clock, Coordination, FactStore, JobQueue
from flowcraft.ports.coordination import hint_channel
from flowcraft_azure import AzureSettings, open_azure, provision

T = TypeVar("T")


class TickingClock(Clock, Protocol):
    """A clock that a test can let pass: by setting it, or by waiting."""

    async def tick(self, seconds: float) -> None: ...


class RealClock(SystemClock):
    """The machine's clock, for services that have their own: time passes by waiting."""

    async def tick(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True)
class BackendUnderTest:
    """What a test is given.

    Attributes:
        queue_name: The queue that ``queue`` takes from and whose listeners get hints.
        queue: The queue.
        poison: Its poison queue, to look into.
        facts: The fact store.
        coordination: The coordination store.
        clock: The clock of the backend.
        tick_s: The smallest visibility timeout, delay and lease that the backend tells apart.
        step_s: By how much time passes between two looks of ``until``.
    """

    queue_name: str
    queue: JobQueue
    poison: JobQueue
    facts: FactStore
    coordination: Coordination
    clock: TickingClock
    tick_s: float = 1.0
    step_s: float = 0.1

    async def until(self, look: Callable[[], Awaitable[T]], within_s: float = 10.0) -> T:
        """Let time pass until ``look`` gives something true; fails after ``within_s``."""
        deadline = self.clock.monotonic() + within_s
        while True:
            seen = await look()
            if seen:
                return seen
            assert self.clock.monotonic() < deadline, f"nothing happened within {within_s} s (last: {seen!r})"
            await self.clock.tick(self.step_s)


Factory = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[BackendUnderTest]]


@asynccontextmanager
async def _embedded(path: str) -> AsyncIterator[BackendUnderTest]:
    clock = ManualClock()
    async with open_embedded(path, "orders", clock, random.Random(7)) as backend:  # noqa: S311
        yield BackendUnderTest(
            queue_name="orders",
            queue=backend.queue,
            poison=backend.for_queue("orders-poison").queue,
            facts=backend.facts,
            coordination=backend.coordination,
            clock=clock,
        )


def embedded_memory(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[BackendUnderTest]:
    """The embedded backend in memory."""
    del request
    return _embedded(":memory:")


def embedded_file(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[BackendUnderTest]:
    """The embedded backend on a file."""
    return _embedded(str(request.getfixturevalue("tmp_path") / "runs.db"))


@asynccontextmanager
async def _azure(stand_ins: StandIns, queue_name: str) -> AsyncIterator[BackendUnderTest]:
    settings = AzureSettings.from_environment({**os.environ, **stand_ins.environment}, queue_name)
    await provision(settings)
    clock = RealClock()
    async with open_azure(settings, clock, random.Random(7)) as backend:  # noqa: S311
        yield BackendUnderTest(
            queue_name=queue_name,
            queue=backend.queue,
            poison=backend.for_queue(f"{queue_name}-poison").queue,
            facts=backend.facts,
            coordination=backend.coordination,
            clock=clock,
        )


def azure(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[BackendUnderTest]:
    """Queue Storage, Cosmos DB and Redis, or their stand-ins."""
    return _azure(request.getfixturevalue("stand_ins"), request.getfixturevalue("unique_name"))


@asynccontextmanager
async def _simulated() -> AsyncIterator[BackendUnderTest]:
    clock = ManualClock()
    rng = random.Random(7)  # noqa: S311
    link = PerfectLink(clock)
    poison = QueueServer(clock, rng)
    yield BackendUnderTest(
        queue_name="orders",
        queue=SimulatedQueue(QueueServer(clock, rng, poison=poison), link),
        poison=SimulatedQueue(poison, link),
        facts=LargeValueFacts(
            SimulatedFacts(FactServer(clock, rng), link), SimulatedValues(ValueServer(), link)
        ),
        coordination=SimulatedCoordination(CoordinationServer(clock, rng), link, hint_channel("orders")),
        clock=clock,
    )


def simulated(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[BackendUnderTest]:
    """What simulations run on."""
    del request
    return _simulated()


BACKENDS: Final[Mapping[str, tuple[Factory, Sequence[pytest.MarkDecorator]]]] = {
    "embedded-memory": (embedded_memory, ()),
    "embedded-file": (embedded_file, ()),
    "simulated": (simulated, ()),
    "azure": (azure, (pytest.mark.emulators,)),
}
"""By name: the factory, and marks (``pytest.mark.emulators`` for what needs the stand-ins)."""

"""One pool in virtual time: the shipping worker, client and reconciler on the simulation's ports.

Requests are counted where they would be sent. The pool has one worker, which goes with the last visible
message and comes with the next, as the operator scales a pool, and a reconciler with a pass a minute.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tests.simulation.ports.coordination import CoordinationServer, SimulatedCoordination
from tests.simulation.ports.facts import FactServer, SimulatedFacts
from tests.simulation.ports.queue import QueueServer, SimulatedQueue
from tests.simulation.virtual_time import VirtualClock

from flowcraft import App
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.distributed.services import Services
from flowcraft.evaluator import ExpressionEvaluator

T = TypeVar("T")
QUEUE: Final = "lasting"
RUN: Final = "run"
FLOW: Final = "lasting"
COOLDOWN_S: Final = 60.0
PASS_S: Final = 60.0
DAY_S: Final = 24 * 3600.0
FOREVER_S: Final = 400 * DAY_S
BESIDE: Final = frozenset({"coordination.heartbeat", "coordination.listen", "coordination.lease"})
"""What workers and reconcilers say whether there is a run or not, or a thousand; so are empty receives."""
LISTED: Final = frozenset({"facts.headers", "queue.depth"})
"""What a pass of the reconciler asks once for all runs of its queue."""


@dataclass(slots=True)
class CountedLink:
    """Carries calls at once, and counts those that are about the run."""

    clock: VirtualClock
    requests: Counter[str] = field(default_factory=Counter)

    async def call(self, name: str, effect: Callable[[], T], _tell: Callable[[T], str] | None = None) -> T:
        """Make the call."""
        result = effect()
        if name not in BESIDE and name not in LISTED and not (name == "queue.receive" and not result):
            self.requests[name] += 1
        return result

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.sleep(seconds)


class Pool:
    """One run of a pool that is scaled to zero while no message is visible.

    Attributes:
        working: Counts the requests of client and worker.
        looking: Counts those of the reconciler.
        clock: Its time.
    """

    def __init__(self, flow: Callable[[App], object], *, reconciled: bool) -> None:
        """Args: adds the workflow ``FLOW`` to an app; whether a reconciler passes."""
        self.clock = VirtualClock()
        rng = random.Random(0)  # noqa: S311  order and jitter
        self.queue = QueueServer(self.clock, rng)
        self.facts = FactServer(self.clock, rng)
        self.coordination = CoordinationServer(self.clock, rng)
        self.working, self.looking = CountedLink(self.clock), CountedLink(self.clock)
        self.app = App(FLOW, dependencies={"pool": self})
        flow(self.app)
        self._sent = asyncio.Event()
        self.queue.changed = self._sent.set
        self._reconciled = reconciled

    def _ports(self, link: CountedLink) -> dict[str, Any]:
        return {
            "queue_name": QUEUE,
            "queue": SimulatedQueue(self.queue, link),
            "facts": SimulatedFacts(self.facts, link),
            "coordination": SimulatedCoordination(self.coordination, link, f"runs:{QUEUE}"),
            "clock": self.clock,
        }

    async def live(self, answer: Callable[[Pool, Client], Awaitable[None]] | None = None) -> None:
        """Start the run, let somebody answer it, and return when it has ended and its message is gone.

        Raises:
            RuntimeError: it did not complete.
        """
        tasks = [asyncio.create_task(self._scale())]
        if self._reconciled:
            tasks.append(asyncio.create_task(self._reconcile()))
        client = Client(**self._ports(self.working))
        await client.start_workflow(FLOW, {}, run_id=RUN)
        if answer is not None:
            await answer(self, client)
        while self.queue.messages:
            await self.clock.sleep(min(max(self.queue.next_visible_s(), 1.0), DAY_S))
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        status = self.facts.headers[RUN].items["header"][-1].value["status"]
        if status != "completed":
            raise RuntimeError(f"the run is {status}")

    def objects(self) -> int:
        """How many objects there are, without what the simulated store keeps of what headers said once."""
        for partition in self.facts.headers.values():
            for versions in partition.items.values():
                del versions[:-1]
        gc.collect()
        return len(gc.get_objects())

    async def _scale(self) -> None:
        """A worker as long as messages are visible or in work, and for the cooldown."""
        while True:
            self._sent.clear()
            if not self.queue.visible():
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(self.queue.next_visible_s(), FOREVER_S)):
                        await self._sent.wait()
                continue
            async with Worker(self._services()) as worker:
                idle_since = self.clock.monotonic()
                while self.clock.monotonic() - idle_since < COOLDOWN_S:
                    await self.clock.sleep(5.0)
                    if worker.jobs or self.queue.visible():
                        idle_since = self.clock.monotonic()

    def _services(self) -> Services:
        return Services(
            **self._ports(self.working),
            random=random.Random(1),  # noqa: S311  jitter
            evaluator=ExpressionEvaluator(),
            catalog=self.app.options,
            worker_id="worker",
        )

    async def _reconcile(self) -> None:
        reconciler = Reconciler(Client(**self._ports(self.looking)), "reconciler")
        while True:
            await self.clock.sleep(PASS_S)
            await reconciler.run()

"""The people of a chaos run: they start runs, decide, cancel, and insist until they are answered."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from tests.chaos.programs import KINDS, VARIANTS, Kind
from tests.chaos.storm import Storm

from flowcraft.distributed.client import Client
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.ports.errors import PortError
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument

T = TypeVar("T")
ACTIVE_AT_ONCE: Final = 40
CALM_S: Final = 150.0
"""How long the last runs may take when the weather is clear again: the lease of a reconciler that was killed
is kept for two minutes, and a run whose last word was lost waits for reconciliation."""
LOOK_EVERY_S: Final = 0.4
HELD_BACK: Final = 0.7
"""From this part of the runs on, they wait for the storm to have been through everything."""
PACE_S: Final = 0.25
"""Between two starts, on average."""


@dataclass
class Run:
    """A run, and what is known of it."""

    kind_name: str
    variant: int
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    cancel_after_s: float | None = None
    refused: bool = False
    """It had ended when it was to be cancelled."""
    end: HeaderDocument | None = None
    """Its header when its end was first seen."""

    @property
    def kind(self) -> Kind:
        """Its entry in the table."""
        return KINDS[self.kind_name]

    def decision(self, node: str) -> dict[str, Any]:
        """What is decided at a waiting node."""
        actions = self.kind.decisions[node]
        return {"action": actions[self.variant % len(actions)], "output": {"by": "ada", "at": node}}


def drawn(rng: random.Random, count: int) -> list[Run]:
    """So many runs; every kind is among the first."""
    names = list(KINDS)
    first = rng.sample(names, len(names))
    rest = rng.choices(names, [kind.weight for kind in KINDS.values()], k=count)
    runs = []
    for name in [*first, *rest][:count]:
        run = Run(name, rng.randrange(VARIANTS), str(uuid.UUID(int=rng.getrandbits(128), version=4)))
        if run.kind.cancelled:
            run.cancel_after_s = rng.uniform(0.0, 2.0)
        runs.append(run)
    return runs


class Drive:
    """Carries runs from their start to their end.

    Attributes:
        runs: All of them.
        accepted: Those whose start was answered.
        through: A client in the weather.
        clear: A client that only looks, with a clear view.
        asked_again: Calls repeated because the answer was an error.
        surprises: What calls raised that is no error of a port.
    """

    def __init__(
        self,
        runs: list[Run],
        rng: random.Random,
        through: Client,
        clear: Client,
        say: Callable[[str], None],
    ) -> None:
        """Args: see above; randomness of the pace; where to report."""
        self._rng = rng
        self.runs = runs
        self.accepted: list[Run] = []
        self.asked_again = 0
        self.surprises: list[str] = []
        self.through = through
        self.clear = clear
        self._say = say
        self._acts: set[asyncio.Task[None]] = set()
        self._deciding: set[tuple[str, str]] = set()

    @property
    def active(self) -> list[Run]:
        """Accepted and not ended."""
        return [run for run in self.accepted if run.end is None]

    async def start_all(self, once: asyncio.Event) -> None:
        """Start every run, a number of them at a time; the last ones when everything has happened once."""
        for number, run in enumerate(self.runs, 1):
            if number > len(self.runs) * HELD_BACK:
                await once.wait()
            while len(self.active) >= ACTIVE_AT_ONCE:  # noqa: ASYNC110 - others end them
                await asyncio.sleep(0.05)
            await asyncio.sleep(self._rng.expovariate(1 / PACE_S))
            await self._insist(partial(self._start, run))
            self.accepted.append(run)
            if run.cancel_after_s is not None:
                self._act(self._cancel(run))
            if number % 50 == 0 or number == len(self.runs):
                self._say(f"{number} of {len(self.runs)} runs started, {len(self.active)} under way")

    async def look_after(self, over: asyncio.Event) -> None:
        """Look at active runs again and again, and decide what waits."""
        while not over.is_set():
            for run in self.active:
                try:
                    header = (await self.clear.facts.read_header(run.run_id)) or None
                except PortError:
                    break  # the store is away just now
                if header is not None:
                    self._seen(run, header.document)
            await asyncio.sleep(LOOK_EVERY_S)

    async def ended(self, within_s: float) -> bool:
        """Wait until every run has ended; False when that takes too long."""
        try:
            async with asyncio.timeout(within_s):
                while len(self.accepted) < len(self.runs) or self.active:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End what people still do."""
        for task in self._acts:
            task.cancel()
        await asyncio.gather(*self._acts, return_exceptions=True)

    def _seen(self, run: Run, header: HeaderDocument) -> None:
        if header["status"] in TERMINAL_STATUSES:
            run.end = header
            return
        for entry in header.get("awaiting", ()):
            place = (run.run_id, entry["nodeKey"])
            if entry["nodeKey"] in run.kind.decisions and place not in self._deciding:
                self._deciding.add(place)
                self._act(self._decide(run, entry["nodeKey"]))

    async def _start(self, run: Run) -> str:
        return await self.through.start_workflow(
            run.kind.blueprint["id"], {"variant": run.variant}, run_id=run.run_id
        )

    async def _cancel(self, run: Run) -> None:
        await asyncio.sleep(run.cancel_after_s or 0.0)
        try:
            await self._insist(lambda: self.through.cancel(run.run_id))
        except RefusedError:
            run.refused = True

    async def _decide(self, run: Run, node: str) -> None:
        given = run.decision(node)
        await self._insist(lambda: self.through.decide(run.run_id, node, **given))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except PortError:
                pass
            except RefusedError as error:
                if not error.retryable:
                    raise
            self.asked_again += 1
            await asyncio.sleep(0.2)

    def _act(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._acts.add(task)
        task.add_done_callback(self._acted)

    def _acted(self, task: asyncio.Task[None]) -> None:
        self._acts.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.surprises.append(f"{type(error).__name__}: {error}")


async def through(drive: Drive, storm: Storm, say: Callable[[str], None]) -> None:
    """Start all runs in a storm, calm it soon after the last one, and wait for the ends of all."""
    over, done = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(drive.look_after(done))
        raging = group.create_task(storm.rage(over))
        await drive.start_all(storm.once)
        await drive.ended(within_s=10.0)
        over.set()
        await raging
        say(f"the weather is clear; {len(drive.active)} runs under way")
        await drive.ended(within_s=CALM_S)
        done.set()

"""The simulated world: services in memory, and processes that run the real programs on them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from tests.simulation.faults import AWAY_S, CALL_FAULTS, FROZEN_S, At, CallFault, Plan, WorldFault
from tests.simulation.history import History
from tests.simulation.ports.coordination import CoordinationServer, SimulatedCoordination
from tests.simulation.ports.facts import FactServer, SimulatedFacts
from tests.simulation.ports.queue import QueueServer, SimulatedQueue
from tests.simulation.ports.values import SimulatedValues, ValueServer
from tests.simulation.story import DECISION, RUN_INPUT, Story, digest
from tests.simulation.virtual_time import VirtualClock

from flowcraft import App, NodeContext, NodeResult
from flowcraft.analysis import analyze_blueprint
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.message import Message
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.large_values import LargeValueFacts
from flowcraft.ports import FactStore
from flowcraft.ports.errors import BackendUnavailableError, ConflictError, PortError

T = TypeVar("T")
QUEUE: Final = "orders"
RUN: Final = "run-1"
BESIDE: Final = "run-2"
SLOWEST_S: Final = 4.0
"""Half a call takes no longer: clients give up on what takes longer, and that is a fault of its own."""
RECONCILE_S: Final = 60.0
SETTINGS: Final = WorkerSettings(
    concurrency=4, visibility_timeout_s=30.0, pause_delay_s=1800.0, unknown_delay_s=5.0, drain_s=3.0
)
PATIENT: Final = replace(SETTINGS, max_deliveries=15)
"""For storms in which no node is to be taken for one that kills its workers."""
EVALUATOR: Final = ExpressionEvaluator()


@dataclass(frozen=True)
class Began:
    """A node's code began to run."""

    at_s: float
    key: str
    attempt: int
    input: Any
    run_id: str = RUN


class ProcessClock(VirtualClock):
    """A process's clock: whoever sleeps in a process that dies never wakes."""

    def __init__(self, process: Process, skew_s: float) -> None:
        super().__init__(skew_s)
        self._process = process

    async def sleep(self, seconds: float) -> None:
        await self._process.wait(seconds)


class Process:
    """An operating system process: it makes calls, stands still, or dies; implements ``Link``."""

    def __init__(self, world: World, name: str, *, mortal: bool) -> None:
        self.world = world
        self.name = name
        self.mortal = mortal
        self.newer = False
        self.dead = False
        self.frozen_until = 0.0
        self.clock = ProcessClock(self, world.rng.uniform(-1, 1) * world.plan.skew_s)

    def ports(self) -> dict[str, Any]:
        """Its view of the services."""
        world = self.world
        facts: FactStore = SimulatedFacts(world.facts, self)
        by_hand = world.story.by_hand and self.name == "client"  # it knows items only
        if world.plan.inline_bytes and not by_hand:
            values = SimulatedValues(world.values, self)
            facts = LargeValueFacts(facts, values, world.plan.inline_bytes)
        return {
            "queue_name": QUEUE,
            "queue": SimulatedQueue(world.queue, self),
            "facts": facts,
            "coordination": SimulatedCoordination(world.coordination, self, f"runs:{QUEUE}"),
            "clock": self.clock,
        }

    def crash(self) -> None:
        """It is gone, whatever it was doing."""
        if not self.dead:
            self.dead = True
            self.world.history.add(self.name, "CRASH")
            self.world.crashed(self)

    def freeze(self, seconds: float) -> None:
        """It stands still."""
        self.world.history.add(self.name, f"FROZEN for {seconds:.0f} s")
        self.frozen_until = self.world.now + seconds

    async def hang(self) -> None:
        """Never return."""
        if not self.world.closing:
            await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._alive()

    async def _alive(self) -> None:
        if self.dead:
            await self.hang()
        while self.frozen_until > self.world.now:
            await asyncio.sleep(self.frozen_until - self.world.now)
            if self.dead:
                await self.hang()

    async def call(self, name: str, effect: Callable[[], T], tell: Callable[[T], str] | None = None) -> T:
        world, history = self.world, self.world.history
        await self.wait(world.delay())
        number, fault = world.strike(self)
        if fault == "crash before":
            self.crash()
        elif fault == "frozen before":
            self.freeze(FROZEN_S)
        await self._alive()
        if fault == "not done" or world.is_away(name):
            history.add(self.name, f"{name} NOT DONE", number)
            raise BackendUnavailableError(f"{name} was not done")
        try:
            result = effect()
        except PortError as error:
            history.add(self.name, f"{name} refused: {error}", number)
            await self.wait(world.delay())
            raise
        history.add(self.name, f"{name} {tell(result) if tell else ''}", number)
        if fault == "crash after":
            self.crash()
        elif fault == "frozen after":
            self.freeze(FROZEN_S)
        await self.wait(world.delay())
        if fault == "no answer":
            history.add(self.name, f"{name} NO ANSWER", number)
            raise BackendUnavailableError(f"{name} was not answered")
        return result


class World:
    """Everything of one simulation; the same seed, story and plan give the same history."""

    def __init__(self, story: Story, plan: Plan, seed: int) -> None:
        self.story = story
        self.plan = plan
        self.rng = random.Random(f"world {seed}")  # noqa: S311
        self.history = History(self)
        clock = VirtualClock()
        self.queue = QueueServer(clock, self.rng)
        self.facts = FactServer(clock, self.rng, lag_s=plan.lag_s)
        self.values = ValueServer()
        self.coordination = CoordinationServer(clock, self.rng)
        self.pace = self.rng.choice([0.0, 0.002, 0.02, 0.2])
        self.began: list[Began] = []
        self.misread: list[str] = []
        self.repairs = 0
        self.calls = 0
        self.calls_until_over = 0
        self.struck: list[At] = []
        self._faults = random.Random(f"faults {seed}")  # noqa: S311  its own, so that a shrunk plan changes only faults
        self.last_fault_s = 0.0
        self.closing = False
        self.safe = False
        self.acted = False
        self.ended_s = 0.0
        self.found: list[str] = []
        self._away: dict[str, float] = {}
        self._born = 0
        self.workers: dict[str, tuple[Process, Worker]] = {}
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def reconciled(self) -> bool:
        """Whether the reconciler takes part: only where it may be needed.

        Arrivals at a wide join that were made while the store was away are unknown to it when it is back.
        """
        away = any(at.fault == "coordination away" for at in self.plan.single)
        return self.plan.reconciled or (away and self.story.widest > SETTINGS.check_open_joins_up_to)

    # ---- what a call meets ----

    def delay(self) -> float:
        """How long half a call takes: mostly little, sometimes long."""
        if self.pace == 0.0:
            return 0.0
        slow = 20.0 if self.rng.random() < 0.02 else 1.0
        return min(self.rng.expovariate(1.0) * self.pace * slow, SLOWEST_S)

    def strike(self, process: Process) -> tuple[int, CallFault | WorldFault | None]:
        """Count a call; what happens to it. What happens to the services happens here."""
        self.calls += 1
        fault = None if self.safe else self.plan.strike(self.calls, self.now, self._faults)
        if fault is None:
            return self.calls, None
        if fault in CALL_FAULTS:
            if not process.mortal and fault not in ("no answer", "not done"):
                return self.calls, None
            self._note(fault)
            return self.calls, fault
        if self._befall(fault):
            self._note(fault)
            self.history.add("services", fault.upper(), self.calls)
        return self.calls, None

    def _note(self, fault: CallFault | WorldFault) -> None:
        self.last_fault_s = self.now
        self.struck.append(At(self.calls, fault))

    def is_away(self, name: str) -> bool:
        return self._away.get(name.split(".", maxsplit=1)[0], 0.0) > self.now

    def _befall(self, fault: str) -> bool:
        """Something happens to the services; False if there is nothing that it could happen to."""
        if fault.endswith(" away"):
            self._away[fault.removesuffix(" away")] = self.now + AWAY_S
            return True
        return self._befall_coordination(fault) or self._befall_queue(fault)

    def _befall_coordination(self, fault: str) -> bool:
        if fault == "coordination forgets":
            self.coordination.flush()
        elif fault == "arrival lost":
            return self.coordination.lose_arrival()
        elif fault == "claim lost":
            return self.coordination.lose_claim()
        elif fault == "hints lost":
            self.coordination.hints_lost = 0.5
        else:
            return False
        return True

    def _befall_queue(self, fault: str) -> bool:
        messages = list(self.queue.messages.values())
        if not messages:
            return False
        if fault == "visibility runs out":
            for message in messages:
                if message.deliveries:
                    message.visible_at = min(message.visible_at, self.now)
        elif fault == "message twice":
            self.queue.insert(self.rng.choice(messages).body)
        elif fault == "message lost":
            del self.queue.messages[self.rng.choice(messages).number]
        else:
            return False
        return True

    # ---- processes ----

    def start(self) -> None:
        """Bring everything to life."""
        for number in range(self.rng.choice([1, 2, 2, 3]) + (self.story.newer is not None)):
            newer = self.story.newer is not None and number % 2 == 0
            self._spawn(self._work(self.story.late_s, newer=newer))
        for _ in range(self.story.strangers):
            self._spawn(self._work(self.story.late_s, stranger=True))
        if self.reconciled:
            self._spawn(self._reconcile())
        client = Client(**Process(self, "client", mortal=False).ports())
        self.driver = self._spawn(Driver(self, client).run())

    async def close(self) -> None:
        """End what still runs: living workers drain, the rest is dropped."""
        self.safe = True
        for process, worker in list(self.workers.values()):
            if not process.dead:
                await worker.stop()
        self.closing = True
        mine = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not mine]
        for task in sorted(rest, key=_begun):  # so that what they say as they end is always the same
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def crashed(self, process: Process) -> None:
        """Somebody starts another one in its place, a little later."""
        if self.workers.pop(process.name, None) is not None:
            stranger = process.name.startswith("stranger")
            after_s = self.rng.uniform(1.0, 20.0)
            self._spawn(self._work(after_s, stranger=stranger, newer=process.newer))
        elif process.name.startswith("reconciler"):
            self._spawn(self._reconcile())

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    def failures(self) -> list[BaseException]:
        """What ended a task of the simulation that should not have ended so."""
        done = [task for task in self._tasks if task.done() and not task.cancelled()]
        return [error for task in done if (error := task.exception()) is not None]

    async def _work(self, after_s: float = 0.0, *, stranger: bool = False, newer: bool = False) -> None:
        if after_s:
            await asyncio.sleep(after_s)
        self._born += 1
        process = Process(self, f"{'stranger' if stranger else 'w'}{self._born}", mortal=True)
        process.newer = newer
        worker = Worker(self._services(process))
        self.workers[process.name] = (process, worker)
        await worker.start()
        await worker.wait()

    def _services(self, process: Process) -> Services:
        return Services(
            **process.ports(),
            random=random.Random(self.rng.random()),  # noqa: S311
            evaluator=EVALUATOR,
            catalog=_app(process, None if process.name.startswith("stranger") else self.story).options,
            worker_id=process.name,
            settings=PATIENT if self.plan.storm_s and not self.story.kills else SETTINGS,
            log=self.history.logger(process.name),
        )

    async def _reconcile(self) -> None:
        self._born += 1
        process = Process(self, f"reconciler{self._born}", mortal=True)
        services = self._services(process)
        reconciler = Reconciler(services, process.name, stalled_threshold_s=120.0, log=services.log)
        while True:
            await process.clock.sleep(RECONCILE_S)
            try:
                self.repairs += (await reconciler.run()).reconciled_runs
            except PortError as error:
                self.history.add(process.name, f"pass failed: {error}")

    async def stop_a_worker(self) -> None:
        """One living worker drains and ends; another one starts."""
        living = [one for one in self.workers.values() if not one[0].dead and one[0].name[0] == "w"]
        if living:
            process, worker = self.rng.choice(living)
            del self.workers[process.name]
            self.history.add(process.name, "drains")
            self._spawn(self._work(self.rng.choice([0.1, 3.0]), newer=process.newer))
            self._spawn(worker.stop())


class Driver:
    """The people around a run: they start it, decide, and do what the story says."""

    def __init__(self, world: World, client: Client) -> None:
        self.world = world
        self.client = client
        self.ended = False

    async def run(self) -> None:
        """Do everything once; unavailable services are tried again, as people do."""
        world = self.world
        await self._persist(self._start)
        if world.story.beside:
            request = RunRequest(BESIDE, "story", input=RUN_INPUT)
            await self._persist(lambda: self.client.start(request))
        acts = [self._act(act.verb, act.after_s, act.lasts_s) for act in world.story.acts]
        decisions = [self._decide(key, action) for key, action in world.story.decisions.items()]
        await asyncio.gather(*acts, *decisions)
        world.acted = True

    async def _persist(self, verb: Callable[[], Any]) -> Any:
        while True:
            try:
                return await verb()
            except BackendUnavailableError:
                await self.client.clock.sleep(2.0)

    async def _start(self) -> None:
        story = self.world.story
        if story.by_hand:
            await self._start_by_hand(RUN_INPUT)
        else:
            request = RunRequest(
                RUN,
                "story",
                input=RUN_INPUT,
                deadline_s=story.deadline_s,
                ttl_after_finished_s=story.kept_s,
            )
            await self.client.start(request, story.blueprint if story.pinned else None)

    async def _start_by_hand(self, run_input: Any) -> None:
        document: Any = {
            "id": RUN,
            "status": "running",
            **({} if self.world.story.bare and not self.world.reconciled else {"blueprintId": "story"}),
            "lastUpdated": self.client.clock.now().timestamp(),
        }
        with contextlib.suppress(ConflictError):
            await self.client.facts.create_header(document, run_input)
        for node_id in analyze_blueprint(self.world.story.blueprint).start_node_ids:
            await self.client.queue.send(Message(RUN, "story", node_id).to_body())

    async def _act(self, verb: str, after_s: float, lasts_s: float) -> None:
        await self.client.clock.sleep(after_s)
        self.world.history.add("somebody", verb)
        if verb == "cancel":
            await self._unless_ended(lambda: self.client.cancel(RUN))
        elif verb == "suspend":
            await self._unless_ended(lambda: self.client.suspend(RUN))
            await self.client.clock.sleep(lasts_s)
            self.world.history.add("somebody", "resume")
            await self._unless_ended(lambda: self.client.resume(RUN))
        elif verb == "start again":
            if not self.world.story.by_hand:
                await self._persist(self._start)
        else:
            await self.world.stop_a_worker()

    async def _unless_ended(self, verb: Callable[[], Any]) -> None:
        try:
            await self._persist(verb)
        except RefusedError as error:
            self.world.history.add("somebody", f"was refused: {error}")

    async def _decide(self, key: str, action: str | None) -> None:
        while True:
            await self.client.clock.sleep(self.world.rng.choice([0.3, 1.0, 7.0]))
            try:
                await self._persist(lambda: self.client.decide(RUN, key, action=action, output=DECISION))
            except RefusedError as error:
                if not error.retryable:
                    self.world.history.add("somebody", f"was refused: {error}")
                    return
                if (self.client.clock.monotonic()) > 3 * 3600:
                    return
            else:
                self.world.history.add("somebody", f"decided {key}")
                if self.world.story.indecision:
                    await self._waver(key, action)
                return

    async def _waver(self, key: str, action: str | None) -> None:
        """Say the same again, then something else: that is refused, whatever became of the run."""
        await self._unless_ended(lambda: self.client.decide(RUN, key, action=action, output=DECISION))
        try:
            await self._persist(lambda: self.client.decide(RUN, key, action="other", output=None))
        except RefusedError as error:
            self.world.history.add("somebody", f"was refused: {error}")
        else:
            self.world.misread.append(f"{key} was decided twice")


def _begun(task: asyncio.Task[Any]) -> tuple[int, str]:
    """Sorts tasks by their age: their names are numbered."""
    return len(task.get_name()), task.get_name()


def _app(process: Process, story: Story | None) -> App:
    app = App("simulation", dependencies={"process": process})
    if story is not None:
        app.node("work")(_work_node)
        app.node("item")(_item_node)
        app.node("spare")(_spare_node)
        own = story.newer if process.newer and story.newer else story.blueprint
        for blueprint in (own, *story.subflows):
            app.add_blueprint(blueprint)
    return app


async def _spare_node(ctx: NodeContext) -> NodeResult:
    """Stands in for a node that fails."""
    output = f"{ctx.node_key}~"
    await ctx.context.set(f"k_{ctx.node_key}", output)
    await ctx.context.set("last", output)
    return NodeResult(output, ctx.params.get("action"))


async def _work_node(ctx: NodeContext) -> NodeResult:
    """What every node of a story does, as its parameters say."""
    return await _work(ctx, ctx.params)


async def _item_node(ctx: NodeContext) -> NodeResult:
    """What every item of a batch does, as it says itself."""
    return await _work(ctx, ctx.input)


async def _work(ctx: NodeContext, params: Mapping[str, Any]) -> NodeResult:
    process: Process = ctx.dependencies["process"]
    world = process.world
    number = len(world.began) + 1
    world.began.append(Began(world.now, ctx.node_key, ctx.attempt, ctx.input, ctx.run_id))
    world.history.add(process.name, f"executes {ctx.node_key}, attempt {ctx.attempt}, input {ctx.input}")
    if params.get("kills"):
        process.crash()
    await process.wait(3600.0 if ctx.attempt <= params.get("stalls", 0) else params["takes_s"])
    for name, expected in params.get("reads", {}).items():
        for where in (f"k_{name}", *((f"_outputs.{name}", name) if params.get("outputs") else ())):
            found = await ctx.context.get(where)
            if found != expected:
                world.misread.append(f"{ctx.node_key} read {found!r} instead of {expected!r} from {where}")
    if ctx.attempt <= params.get("fails", 0):
        raise RuntimeError("as the story says")
    output = f"{ctx.node_key}!" if params.get("opaque") else f"{ctx.node_key}-{digest(ctx.input)}"
    if params.get("fickle"):
        output = f"{ctx.node_key}?{number}"
    await ctx.context.set(f"k_{ctx.node_key}", output)
    await ctx.context.set("last", output)
    action = params.get("actions", {}).get(ctx.node_key, params.get("action"))
    return NodeResult(params.get("gives", output), action, dynamic_nodes=params.get("makes", ()))

"""Verbs asked of runs that a worker works on when a test lets it, and what the tables say comes of them."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self, cast

from tests.operations.place import flow

from flowcraft import NodeContext, NodeResult
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client, RunNotFoundError
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.verbs import (
    DECISIONS,
    RERUNS,
    NodeState,
    Outcome,
    RefusedError,
    Ruling,
    RunState,
    Verb,
    ruling,
)
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.implementation import Registry
from flowcraft.ports import FactStore
from flowcraft.runtime import BlueprintCatalog, RuntimeOptions

FLOW = flow("ask>use", ask={"uses": "wait"}, use={"uses": "use"}, name="ask")
DEADLINE_S = 3600.0
KEPT_S = 7200.0


class MovedClock(SystemClock):
    """The machine's clock, and by how much a test has moved it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass(frozen=True)
class Ask:
    """A verb with what belongs to it."""

    verb: Verb
    answer: str = "good"
    node: str = "ask"


@dataclass(frozen=True)
class Seen:
    """A run as verbs tell it apart: its state, that of the node that asks, and the answer it has."""

    run: RunState
    node: NodeState
    answer: str = ""


def said(ask: Ask, seen: Seen) -> Ruling:
    """What the tables say."""
    if ask.verb is Verb.DECIDE:
        if seen.run is RunState.UNKNOWN:
            return Ruling(Outcome.NO_RUN)
        found = DECISIONS[seen.node][seen.run.ended]
        if seen.node is NodeState.ANSWERED and seen.answer != ask.answer:
            return Ruling(Outcome.REFUSED)
        return found
    found = ruling(ask.verb, seen.run)
    if ask.verb is Verb.RERUN and found.outcome is Outcome.DONE:
        return RERUNS[seen.node]
    return found


def after(ask: Ask, seen: Seen) -> tuple[Outcome, Seen]:
    """What a verb answers, and what is seen then."""
    says = said(ask, seen)
    if says.outcome is not Outcome.DONE:
        return says.outcome, seen
    if ask.verb is Verb.DECIDE:
        return says.outcome, replace(seen, node=NodeState.ANSWERED, answer=ask.answer)
    if says.becomes is RunState.UNKNOWN:
        return says.outcome, Seen(RunState.UNKNOWN, NodeState.NONE)
    return says.outcome, replace(seen, run=says.becomes or seen.run)


def told(outcome: Outcome) -> Outcome:
    """What a caller can tell: that it is done, now or before."""
    return Outcome.DONE if outcome is Outcome.NOTHING else outcome


def similar(then: Seen, expected: Seen) -> bool:
    """As expected; what goes on may be pending or awaiting already."""
    moving = (RunState.PENDING, RunState.RUNNING, RunState.AWAITING)
    alike = then.run is expected.run or (then.run in moving and expected.run in moving)
    return alike and (then.node, then.answer) == (expected.node, expected.answer)


class Interleaved:
    """The fact store; others may go on before and after each of its calls, as over a network."""

    def __init__(self, facts: Any, turns: random.Random) -> None:
        self._facts = facts
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._facts, name)
        if not inspect.iscoroutinefunction(call):
            return call

        async def interleaved(*args: Any, **kwargs: Any) -> Any:
            await self._let_others_go_on()
            answer = await call(*args, **kwargs)
            await self._let_others_go_on()
            return answer

        return interleaved

    async def _let_others_go_on(self) -> None:
        for _ in range(self._turns.randrange(5)):
            await asyncio.sleep(0)


class World:
    """The embedded backend in memory, the real client, and a worker now and then."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.executed: list[str] = []
        self._stack = AsyncExitStack()
        self._fresh = itertools.count()

    async def __aenter__(self) -> Self:
        backend = await self._stack.enter_async_context(open_embedded(":memory:", "verbs", self.clock))
        self.poison = backend.for_queue("verbs-poison").queue
        facts = cast("FactStore", Interleaved(backend.facts, random.Random(7)))  # noqa: S311
        self.client = Client("verbs", backend.queue, facts, backend.coordination, self.clock)
        self.reconciler = Reconciler(self.client, "reconciler", stalled_threshold_s=60.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def seen(self, run_id: str) -> Seen:
        try:
            header = await self.client.header(run_id)
        except RunNotFoundError:
            return Seen(RunState.UNKNOWN, NodeState.NONE)
        record = (await self.client.records(run_id)).get("ask")
        answer = (record.decision or {}).get("action", "") if record else ""
        return Seen(RunState.of(header), NodeState.of(record), answer)

    async def do(self, run_id: str, ask: Ask) -> Outcome:
        """Ask it; what came of it, as far as the caller is told."""
        client = self.client
        try:
            match ask.verb:
                case Verb.START:
                    await client.start(self.request(run_id))
                case Verb.DECIDE:
                    await client.decide(run_id, "ask", action=ask.answer, output=ask.answer)
                case Verb.RETRY:
                    await client.retry(run_id)
                case Verb.RERUN:
                    await client.rerun(run_id, ["ask"], new_run_id=f"{run_id}-again-{next(self._fresh)}")
                case _:
                    await getattr(client, ask.verb)(run_id)
        except RefusedError as error:
            return Outcome.NOT_YET if error.retryable else Outcome.REFUSED
        except RunNotFoundError:
            return Outcome.NO_RUN
        return Outcome.DONE

    @staticmethod
    def request(run_id: str) -> RunRequest:
        return RunRequest(run_id, "ask", input={}, deadline_s=DEADLINE_S, ttl_after_finished_s=KEPT_S)

    async def _use(self, ctx: NodeContext) -> NodeResult:
        self.executed.append(ctx.idempotency_key)
        if ctx.input == "bad":
            raise ValueError("a bad answer")
        return NodeResult("used")

    async def work(self, *beside: Coroutine[Any, Any, Outcome]) -> list[Outcome]:
        """Let a worker work until nothing moves, with verbs asked meanwhile."""
        client = self.client
        services = Services(
            client.queue_name,
            client.queue,
            client.facts,
            client.coordination,
            self.clock,
            random.Random(7),  # noqa: S311  jitter
            ExpressionEvaluator(),
            RuntimeOptions(BlueprintCatalog([FLOW]), Registry({"use": self._use}), {}),
            "worker",
            settings=WorkerSettings(idle_min_s=0.001, idle_warm_s=0.002, drain_s=1.0, max_deliveries=3),
        )
        async with asyncio.timeout(20), Worker(services) as worker:
            answers = list(await asyncio.gather(*beside))
            while (  # noqa: ASYNC110  the queue tells nobody
                worker.jobs or (await client.queue.depth()).visible or worker.last_receive is None
            ):
                await asyncio.sleep(0.001)
        return answers

    async def bring(self, run_id: str, state: RunState, answer: str = "") -> None:
        """Let a new run come into a state; ``answer`` decides the node that asks."""
        if state is RunState.UNKNOWN:
            return
        await self.client.start(self.request(run_id), FLOW if state is RunState.RUNNING else None)
        if state in (RunState.PENDING, RunState.RUNNING):
            return
        await self.work()
        if answer:
            await self.client.decide(run_id, "ask", action=answer, output=answer)
        if state in (RunState.COMPLETED, RunState.FAILED):
            await self.work()
        elif state is RunState.PAUSED:
            await self.client.suspend(run_id)
        elif state is RunState.CANCELLED:
            await self.client.cancel(run_id)

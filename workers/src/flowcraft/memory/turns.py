"""One node key's turn in a run in memory: act as its kind asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any, cast

from flowcraft.cancellation import uncancel
from flowcraft.durations import duration_s
from flowcraft.engine.choice import loop_result
from flowcraft.engine.inputs import LOOP_CONTROLLER, controller_condition
from flowcraft.engine.making import GATHER, SCATTER, scatter_result, scattered
from flowcraft.errors import BlueprintError, EvaluationError, FatalError, InputError
from flowcraft.executor import Completed, Failed, Outcome, RetryLater, Surroundings, Work, execute_node
from flowcraft.failures import ErrorDetail
from flowcraft.memory.children import gather
from flowcraft.memory.lanes import Lanes
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.program import Code, Program
from flowcraft.memory.settlement import Act, Settlement
from flowcraft.memory.surround import Surround
from flowcraft.node import NodeContext, NodeResult, RunContext
from flowcraft.records import AwaitKind
from flowcraft.times import later


class Turns(Settlement):
    """The turns of one run."""

    def __init__(
        self,
        program: Program,
        surround: Surround,
        around: Surroundings,
        run_id: str,
        *,
        ledger: Ledger,
        lanes: Lanes,
    ) -> None:
        super().__init__(program, surround, ledger=ledger, lanes=lanes)
        self._around = around
        self._run_id = run_id
        self._read = None if program.plan.loops else ledger.read

    def begun(self, key: str) -> Act:
        """What is known of a node key whose turn it is."""
        own = self._ledger.records.get(key)
        started = self._ledger.now() if own is None else own.started_at
        return Act(key, self._ledger.owners.step(key), own, started)

    def decided(self, key: str) -> bool:
        """Whether somebody gave the node key's result."""
        return bool(self.decisions) and key in self.decisions

    async def take(self, act: Act) -> None:
        """Act on a node key, as its kind asks; all kinds but subflows."""
        key, step, own = act.key, act.step, act.own
        if own is not None and own.kind == "children":
            self.children_done(act, own)
            return
        code = step.code
        if code is None or self.decided(key):
            self._wait(act)
            return
        value = self._ledger.input_of(key, step)
        fallback = None if step.fallback is None else self.work(key, step.fallback, value)
        first_attempt = 1 if own is None else own.attempt + 1
        try:
            outcome = await execute_node(
                self.work(key, code, value), self._around, fallback=fallback, first_attempt=first_attempt
            )
        except asyncio.CancelledError:
            if not self._lanes.stopped.is_set():
                raise
            uncancel()  # told while it cleaned up after its own failure
            return
        self.executed(act, outcome)

    async def fall_back(self, act: Act, error: ErrorDetail, attempts: int) -> None:
        """Run the node's fallback in place of what failed with this error, if it has one."""
        if act.step.fallback is None:
            self.fail(act, error, attempts)
            return
        work = self.work(act.key, act.step.fallback, self._ledger.input_of(act.key, act.step))
        work = replace(work, policy=replace(work.policy, max_attempts=1))
        outcome = await execute_node(work, self._around, first_attempt=attempts + 1)
        if isinstance(outcome, Completed):
            outcome = replace(outcome, result=replace(outcome.result, fallback_executed=True))
        self.executed(act, outcome)

    def executed(self, act: Act, outcome: Outcome) -> None:
        """Record what came of a node's code."""
        if isinstance(outcome, Completed):
            self.complete(act, outcome.result, outcome.writes, outcome.attempts)
        elif isinstance(outcome, Failed):
            fatal = isinstance(outcome.exception, FatalError)
            self.fail(act, outcome.error, outcome.attempts, fatal=fatal)
        elif isinstance(outcome, RetryLater):
            wake_at = later(self._surround.clock.now(), outcome.delay_s)
            record = replace(
                self.awaiting(act),
                kind="retry",
                wake_at=wake_at,
                attempt=outcome.attempts,
                error=outcome.error.to_dict(),
            )
            self.park(record, outcome.delay_s)

    def work(self, key: str, code: Code, value: Any) -> Work:
        """A node's code with what it is called with."""
        return Work(code.implementation, partial(self._node_context, key, code, value), code.policy)

    def _node_context(self, key: str, code: Code, value: Any, attempt: int) -> NodeContext:
        return NodeContext(
            input=value,
            params=code.params,
            context=RunContext(self._read or partial(self._ledger.read_in_round, key)),
            run_id=self._run_id,
            node_id=code.node_id,
            node_key=key,
            attempt=attempt,
            dependencies=self._surround.dependencies,
            cancelled=self._lanes.stopped,
        )

    # ---- kinds that the engine acts on itself ----

    def _wait(self, act: Act) -> None:
        """Such a kind begins, or has waited."""
        if act.own is not None or act.key in self.decisions:
            self.complete(act, self._waited(act), {}, 1)
            return
        uses = act.step.planned.definition.uses
        if uses in ("wait", "webhook"):
            self.park(replace(self.awaiting(act), kind=cast("AwaitKind", uses)))
        elif uses == SCATTER:
            self._scatter(act)
        elif uses == GATHER:
            self._gather(act)
        elif uses == LOOP_CONTROLLER:
            self._turn_loop(act)
        else:
            self._sleep(act)

    def _waited(self, act: Act) -> NodeResult:
        """The result of a node that waited: the decision's, or the input that a sleep passes on."""
        decision = self.decisions.get(act.key)
        if decision is not None:
            return NodeResult(decision.output, decision.action)
        return NodeResult(self._ledger.input_of(act.key, act.step))

    def _sleep(self, act: Act) -> None:
        try:
            nap_s = duration_s(act.step.planned.definition.params.get("duration"))
        except ValueError as error:
            self.fail(act, ErrorDetail.of(error), 1)
            return
        wake_at = later(self._surround.clock.now(), nap_s)
        self.park(replace(self.awaiting(act), kind="sleep", wake_at=wake_at), nap_s)

    def _scatter(self, act: Act) -> None:
        definition = act.step.planned.definition
        try:
            made = scattered(act.key, definition, self._ledger.input_of(act.key, act.step))
        except (BlueprintError, InputError) as error:
            self.fail(act, ErrorDetail.of(error), 1)
            return
        if made is None:
            self.complete(act, scatter_result(definition), {}, 1)
        else:
            self.own(self.awaiting(act), made, 1)

    def _turn_loop(self, act: Act) -> None:
        ledger, definition = self._ledger, act.step.planned.definition
        condition, value = controller_condition(definition), ledger.input_of(act.key, act.step)
        facts = ledger.facts_of(act.key, act.step)
        try:
            result = loop_result(act.key, condition, value, facts, self._surround.evaluator)
        except EvaluationError as error:
            self.fail(act, ErrorDetail.of(error), 1)
            return
        self.complete(act, result, {}, 1)

    def _gather(self, act: Act) -> None:
        ledger = self._ledger
        found = gather(self._plan, act.key, ledger.facts_of(act.key, act.step), ledger.records)
        output_key = act.step.planned.definition.params.get("outputKey")
        writes = {output_key: found} if isinstance(output_key, str) and output_key else {}
        self.complete(act, NodeResult(found), writes, 1)

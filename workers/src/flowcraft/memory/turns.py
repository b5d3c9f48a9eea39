"""One node key's turn in a run in memory: act as its kind asks, and record what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from flowcraft.cancellation import uncancel
from flowcraft.durations import duration_s
from flowcraft.engine.choice import choose_edges, loop_result, too_many_rounds
from flowcraft.engine.inputs import LOOP_CONTROLLER, controller_condition
from flowcraft.engine.making import GATHER, SCATTER, Made, Owned, made_by, scatter_result, scattered
from flowcraft.errors import BlueprintError, EvaluationError, FatalError, InputError, OutputError
from flowcraft.executor import Completed, Failed, Outcome, RetryLater, Surroundings, Work, execute_node
from flowcraft.failures import ErrorDetail
from flowcraft.memory.children import gather
from flowcraft.memory.lanes import Lanes
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.program import Code, Program, Step
from flowcraft.memory.result import Decision
from flowcraft.memory.surround import Surround
from flowcraft.node import NodeContext, NodeResult, RunContext
from flowcraft.records import AwaitKind, NodeRecord
from flowcraft.times import later
from flowcraft.values import value_class

_NONE: Final[dict[int, Any]] = {}


@value_class
class Act:
    """A node key being acted on: as which step, over which record of its own, since when."""

    key: str
    step: Step
    own: NodeRecord | None
    started: str


class Turns:
    """The turns of one run.

    Attributes:
        decisions: For nodes that wait, by node key.
        failed: A node failed.
    """

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
        self.decisions: Mapping[str, Decision] = {}
        self.failed = False
        self._program = program
        self._plan = program.plan
        self._surround = surround
        self._around = around
        self._ledger = ledger
        self._lanes = lanes
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
            self._children_done(act, own)
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
            self._own(self.awaiting(act), made, 1)

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

    # ---- owners of children ----

    def _own(self, record: NodeRecord, made: Made, attempts: int) -> None:
        """Let a node key wait for children, and begin the first of them."""
        owner = replace(
            record,
            kind="children",
            output=made.material,
            action=made.action,
            attempt=attempts,
            children=made.children.to_document(),
        )
        self.park(owner)
        begun = self._ledger.owners.learn(owner)
        if begun is not None and not self._lanes.stopped.is_set():
            self._ledger.route(begun)

    def _children_done(self, act: Act, own: NodeRecord) -> None:
        """All children are resolved: their owner completes with the result that it had before them."""
        result = Owned.of(own).result
        self._ledger.owners.forget(act.key)
        self.complete(act, result, {}, own.attempt)

    def _make(self, act: Act, result: NodeResult, writes: Mapping[str, Any], attempts: int) -> None:
        """Nodes that the node gave back come before its edges."""
        try:
            made = made_by(act.key, result, self._program.registry.implements)
        except OutputError as error:
            self.fail(act, ErrorDetail.of(error), attempts)
            return
        self._ledger.write(act.key, writes)
        self._own(self.awaiting(act), made, attempts)

    # ---- records ----

    def awaiting(self, act: Act) -> NodeRecord:
        """An ``awaiting`` record, to be completed by the caller."""
        return self._ledger.awaiting(act.key, act.step, act.started)

    def park(self, record: NodeRecord, delay_s: float | None = None) -> None:
        """Let a node key wait, for so many seconds or for somebody."""
        self._ledger.keep(record, {})
        if delay_s is not None:
            self._lanes.set_alarm(record.key, delay_s)

    def complete(self, act: Act, result: NodeResult, writes: Mapping[str, Any], attempts: int) -> None:
        """Record a node key as completed, and do what follows."""
        if result.dynamic_nodes:
            self._make(act, result, writes, attempts)
            return
        key, step, ledger = act.key, act.step, self._ledger
        if key.endswith("]") and (owned := ledger.owners.owned(key)) is not None:
            writes = {**writes, **owned.told(self._plan, key, result.output)}
        taken, values = step.plain, _NONE
        if taken is None or (result.action is not None and step.planned.outgoing):
            facts = ledger.facts_of(key, step)
            if writes and step.needs is not None:
                facts = facts.written(writes)
            try:
                taken, values = choose_edges(self._plan, key, result, facts, self._surround.evaluator)
            except EvaluationError as error:
                self.fail(act, ErrorDetail.of(error), attempts)
                return
        if step.planned.scope and (reason := too_many_rounds(self._plan, key, taken)) is not None:
            self.fail(act, ErrorDetail("LoopWithoutEnd", reason), attempts)
            return
        ledger.keep(self._completed(act, result, taken, values, attempts), writes)
        if step.planned.scope:
            ledger.marks.learn(key, taken)
        if not self._lanes.stopped.is_set():
            ledger.follow(key, taken)

    def _completed(
        self, act: Act, result: NodeResult, taken: tuple[int, ...], values: Mapping[int, Any], attempts: int
    ) -> NodeRecord:
        own = self._ledger.records.get(act.key)  # a subflow parks itself within its turn
        decision = self.decisions.get(act.key) if self.decisions else None
        return NodeRecord(
            act.key,
            act.step.planned.id,
            "completed",
            result.output,
            result.action,
            taken,
            values,
            attempts,
            started_at=act.started,
            finished_at=self._ledger.now(),
            seq=self._ledger.seq(act.key, act.step),
            decision=None if decision is None else {"action": decision.action, "output": decision.output},
            children=None if own is None else own.children,
            waits_for=None if own is None else own.waits_for,
        )

    def fail(self, act: Act, error: ErrorDetail, attempts: int, *, fatal: bool = False) -> None:
        """Record a node key as failed; so fails the run, unless it is a child whose failures are kept."""
        owned = self._ledger.owners.owned(act.key)
        kept = owned is not None and owned.children.on_error != "fail" and not fatal
        record = replace(
            self.awaiting(act),
            status="completed" if kept else "failed",
            error=error.to_dict(),
            attempt=attempts,
            finished_at=self._ledger.now(),
        )
        self._ledger.keep(record, {})
        if not kept:
            self.failed = True
            self._lanes.stop()
        elif not self._lanes.stopped.is_set():
            self._ledger.follow(act.key, ())

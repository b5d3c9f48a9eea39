"""One run in memory: takes ready node keys, executes them concurrently up to a limit, records, follows.

Every decision is the engine's: the input of a node, its outcome, the edges it takes, what becomes ready,
which joins are resolved. Here they are only carried out, on facts that are dictionaries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Final

from flowcraft.cancellation import uncancel
from flowcraft.distributed.families import child_run_id
from flowcraft.distributed.times import iso, later, parse_time
from flowcraft.durations import duration_s
from flowcraft.engine.children import is_children_join, seq_after
from flowcraft.engine.choice import choose_edges, loop_result, too_many_rounds
from flowcraft.engine.inputs import LOOP_CONTROLLER, Evaluator, Facts, Needs, controller_condition, node_input
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.making import (
    GATHER,
    SCATTER,
    Made,
    Owned,
    made_by,
    scatter_result,
    scattered,
)
from flowcraft.engine.resolution import Join, JoinStates, Wave, fired, join_state
from flowcraft.engine.subflows import UnableError, asked_by
from flowcraft.errors import BlueprintError, EvaluationError, FatalError, InputError, OutputError
from flowcraft.executor import (
    Completed,
    Failed,
    Outcome,
    RetryLater,
    Surroundings,
    Work,
    backoff_s,
    execute_node,
)
from flowcraft.extensions import Extensions
from flowcraft.failures import ErrorDetail
from flowcraft.implementation import retry_policy
from flowcraft.memory.children import Owners, gather
from flowcraft.memory.control import RunControl
from flowcraft.memory.looping import Marks
from flowcraft.memory.program import Code, Program, Step
from flowcraft.memory.result import Decision, RunResult
from flowcraft.memory.subflows import Asked, Subflows, input_of, output_of, why_failed, writes_of
from flowcraft.node import MISSING, NodeContext, NodeResult, RunContext
from flowcraft.ports.clock import Clock
from flowcraft.records import NodeRecord
from flowcraft.telemetry import Telemetry
from flowcraft.values import value_class

BREATH_S: Final = 0.01
"""How long nodes that never block may hold the event loop."""
_FIRED: Final[dict[str, bool]] = {}
"""Stands for the arrivals of a join that has been decided."""
_NONE: Final[dict[int, Any]] = {}
_MILLISECOND: Final = timedelta(milliseconds=1)


@value_class
class Surround:
    """What a run takes from its process.

    Attributes:
        clock: Time.
        random: Jitter.
        evaluator: Conditions and transforms.
        dependencies: Handed to every node.
        concurrency: Nodes that execute at a time.
        threads: Where synchronous nodes run; None: the loop's own pool.
        extensions: What the app brought along.
        control: Pauses and cancels the run from outside.
        inputs: Inputs of nodes, by id or key, instead of those that the blueprint gives them.
        subflows: Carries child runs on.
    """

    clock: Clock
    random: Random
    evaluator: Evaluator
    dependencies: Mapping[str, Any]
    concurrency: int
    threads: Executor | None
    extensions: Extensions
    control: RunControl | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    subflows: Subflows | None = None


class MemoryRun:
    """Carries a run on until nothing can move.

    Attributes:
        records: What is known of each node key.
        context: The run's shared keys, as committed by completed nodes.
        ended: Every node key is resolved.
        failed: A node failed.
        cancelled: The run was cancelled from outside.
        held: Something was ready and did not begin, because the run is paused.
        writes: Context keys that each node key wrote, in the order of its completion.
        subflows: What child runs came to, by node key.
    """

    def __init__(
        self,
        program: Program,
        surround: Surround,
        run_id: str,
        input: Any,  # noqa: A002  the word that users read
    ) -> None:
        self.records: dict[str, NodeRecord] = {}
        self.context: dict[str, Any] = {}
        self.ended = self.failed = self.cancelled = self.held = False
        self.writes: dict[str, Mapping[str, Any]] = {}
        self.subflows: dict[str, RunResult] = {}
        self._program = program
        self._plan = program.plan
        self._surround = surround
        extensions = surround.extensions
        self._telemetry = Telemetry.of(extensions.events, surround.clock, run_id, program.plan.blueprint.id)
        self._around = Surroundings(
            surround.clock,
            surround.random,
            surround.threads,
            serializer=extensions.serializer,
            logger=extensions.logger,
            middleware=tuple(extensions.middleware),
            telemetry=self._telemetry,
        )
        self._control = surround.control
        self._run_id = run_id
        self._input = input
        self._facts = Facts(self.records, self.context, input)
        self._arrived: dict[str, dict[str, bool]] = {}
        self._decisions: Mapping[str, Decision] = {}
        self._nested: Mapping[str, Mapping[str, Decision]] = {}
        self._owners = Owners(program)
        self.marks = Marks(program.plan, self.records)
        self._ready: deque[str] = deque()
        self._stopped = asyncio.Event()
        self._lanes = 0
        self._starting = False
        self._executing: set[asyncio.Task[Any]] = set()
        self._alarms: set[asyncio.Task[None]] = set()
        self._breath_at = 0.0
        self._shown = ""
        self._shown_from = self._shown_until = datetime.min.replace(tzinfo=UTC)

    async def go(self) -> None:
        """Begin."""
        self._ready.extend(self._plan.start_keys())
        await self._carry_on()

    async def go_on(
        self,
        records: Mapping[str, NodeRecord],
        context: Mapping[str, Any],
        decisions: Mapping[str, Decision],
        nested: Mapping[str, Mapping[str, Decision]] | None = None,
    ) -> None:
        """Go on from what an earlier part of the run has left, with decisions for nodes that wait.

        ``nested`` are those for nodes that wait in child runs, by the key of the node that these belong to.
        """
        self._nested = nested or {}
        self.records.update(records)
        self.context.update(context)
        self._decisions = decisions
        begun = [self._owners.learn(record) for record in records.values() if record.children is not None]
        for wave in filter(None, begun):
            self._route(wave)
        for record in records.values():
            if record.resolved:
                self.marks.learn(record.key, record.taken)
        for record in records.values():
            if record.status == "completed":
                self._route(self._owners.follow(record.key, record.taken))
        self._ready.extend(key for key in self._plan.start_keys() if key not in self.records)
        self._ready.extend(key for key in decisions if key not in self._ready)
        self._ready.extend(
            record.key for record in records.values() if record.kind == "run" and not record.resolved
        )
        await self._carry_on(alarms_again=True)

    # ---- who runs when ----

    async def _carry_on(self, *, alarms_again: bool = False) -> None:
        self._breath_at = asyncio.get_running_loop().time() + BREATH_S
        control = self._control
        forget = control.listen(self._heard) if control is not None else None
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                if alarms_again:
                    self._set_alarms_again()
                self._heard()
                await self._lane()
        finally:
            if forget is not None:
                forget()

    def _heard(self) -> None:
        """Do what was asked for from outside, if anything was."""
        control = self._control
        if control is None:
            return
        if control.cancelling and not self._stopped.is_set():
            self.cancelled = True
            self._stop()
        elif control.pausing:
            self.held = self.held or bool(self._alarms)
            for task in self._alarms:
                task.cancel()

    def _set_alarms_again(self) -> None:
        """What slept when the run was paused goes on sleeping, by the clock on the wall."""
        now = self._surround.clock.now()
        for key, record in self.records.items():
            wake_at = None if record.resolved else parse_time(record.wake_at)
            if wake_at is not None and key not in self._decisions:
                self._set_alarm(key, max((wake_at - now).total_seconds(), 0.0))

    async def _lane(self) -> None:
        """Act on ready node keys, one after the other, until there are none.

        Lanes are for nodes that block: while one waits, another begins. Where none does, the caller's own
        task is the only lane there is, and a node costs no task.
        """
        self._starting = False
        self._lanes += 1
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  coroutines run in tasks
        clock = asyncio.get_running_loop().time
        try:
            while self._ready and not self._stopped.is_set():
                key = self._ready.popleft()
                if self._control is not None and not self._control.admits(key, NodeKey.parse(key).node):
                    self.held = True
                    continue
                if self._ready:
                    self._offer()
                self._executing.add(task)
                try:
                    await self._act(key)
                finally:
                    self._executing.discard(task)
                if clock() >= self._breath_at:
                    await asyncio.sleep(0)
                    self._breath_at = clock() + BREATH_S
        finally:
            self._lanes -= 1

    def _offer(self) -> None:
        """Let one more lane begin as soon as those that run block."""
        if self._ready and not self._starting and self._lanes < self._surround.concurrency:
            self._starting = True
            self._group.create_task(self._lane())

    def _set_alarm(self, key: str, delay_s: float) -> None:
        task = self._group.create_task(self._alarm(key, delay_s))
        self._alarms.add(task)
        task.add_done_callback(self._alarms.discard)

    async def _alarm(self, key: str, delay_s: float) -> None:
        await self._surround.clock.sleep(delay_s)
        self._ready.append(key)
        self._offer()

    def _stop(self) -> None:
        """A node failed: what executes is told, and nothing else begins."""
        self._stopped.set()
        current = asyncio.current_task()
        for task in (*self._executing, *self._alarms):
            if task is not current:
                task.cancel()

    # ---- a node key's turn ----

    async def _act(self, key: str) -> None:
        step = self._owners.step(key)
        own = self.records.get(key)
        started = self._now() if own is None else own.started_at
        code = step.code
        if own is not None and own.kind == "children":
            self._awaited(key, step, own)
            return
        if code is None and step.planned.definition.uses == "subflow" and key not in self._decisions:
            await self._nest(key, step, own, started)
            return
        if code is None or (self._decisions and key in self._decisions):
            self._wait(key, step, own, started)
            return
        value = self._input_of(key, step)
        fallback = None if step.fallback is None else self._work(key, step.fallback, value)
        first_attempt = 1 if own is None else own.attempt + 1
        try:
            outcome = await execute_node(
                self._work(key, code, value), self._around, fallback=fallback, first_attempt=first_attempt
            )
        except asyncio.CancelledError:
            if not self._stopped.is_set():
                raise
            uncancel()  # told while it cleaned up after its own failure
            return
        self._executed(key, step, outcome, started)

    def _executed(self, key: str, step: Step, outcome: Outcome, started: str) -> None:
        """Record what came of a node's code."""
        if isinstance(outcome, Completed):
            self._completed(
                key, step, outcome.result, outcome.writes, attempts=outcome.attempts, started=started
            )
        elif isinstance(outcome, Failed):
            fatal = isinstance(outcome.exception, FatalError)
            self._failed(key, step, outcome.error, outcome.attempts, started, fatal=fatal)
        elif isinstance(outcome, RetryLater):
            self._await(
                replace(
                    self._record(key, step, started),
                    kind="retry",
                    wake_at=later(self._surround.clock.now(), outcome.delay_s),
                    attempt=outcome.attempts,
                    error=outcome.error.to_dict(),
                ),
                outcome.delay_s,
            )

    def _wait(self, key: str, step: Step, own: NodeRecord | None, started: str) -> None:
        """A kind that the engine acts on itself begins to wait, or has waited."""
        if own is not None or key in self._decisions:
            self._completed(key, step, self._waited(key, step), {}, attempts=1, started=started)
        elif step.planned.definition.uses == "wait":
            self._await(replace(self._record(key, step, started), kind="wait"))
        elif step.planned.definition.uses == SCATTER:
            self._scatter(key, step, started)
        elif step.planned.definition.uses == GATHER:
            self._gather(key, step, started)
        elif step.planned.definition.uses == LOOP_CONTROLLER:
            self._turn_loop(key, step, started)
        elif step.planned.definition.uses == "webhook":
            self._await(replace(self._record(key, step, started), kind="webhook"))
        else:
            try:
                nap_s = duration_s(step.planned.definition.params.get("duration"))
            except ValueError as error:
                self._failed(key, step, ErrorDetail.of(error), 1, started)
                return
            wake_at = later(self._surround.clock.now(), nap_s)
            self._await(replace(self._record(key, step, started), kind="sleep", wake_at=wake_at), nap_s)

    # ---- subflows ----

    async def _nest(self, key: str, step: Step, own: NodeRecord | None, started: str) -> None:
        """A node's child run: begun, or gone on with, and begun again where it failed and may be."""
        policy = retry_policy(step.planned.definition.config)
        attempt = 1 if own is None else own.attempt
        try:
            while True:
                error = await self._carry_child(key, step, attempt, started)
                if error is None:
                    return
                self.subflows.pop(key, None)
                if attempt >= policy.max_attempts or error.type == "SubflowCancelled":
                    break
                await self._surround.clock.sleep(backoff_s(policy, attempt, self._surround.random))
                attempt += 1
            await self._fall_back(key, step, error, attempt, started)
        except UnableError as unable:
            self._failed(key, step, unable.detail, attempt, started)
        except asyncio.CancelledError:
            if not self._stopped.is_set():
                raise
            uncancel()

    async def _carry_child(self, key: str, step: Step, attempt: int, started: str) -> ErrorDetail | None:
        """Carry one child run on; why it failed, or None when what it came to is recorded."""
        around, definition = self._surround.subflows, step.planned.definition
        assert around is not None  # noqa: S101  the runner gives it to every run
        subflow, blueprint = asked_by(definition, around.above, around.find)
        value = input_of(subflow, self._input_of(key, step), self._plan, self._facts_of(key, step))
        asked = Asked(child_run_id(self._run_id, key, attempt), blueprint, value, around.above + 1)
        asked = replace(asked, timeout_s=definition.config.timeout_s, decisions=self._nested.get(key, {}))
        before = self.subflows.get(key)
        if before is not None and before.run_id == asked.run_id:
            asked = replace(asked, before=before)
        else:
            record = replace(self._record(key, step, started), kind="run", attempt=attempt)
            self._await(replace(record, waits_for={"runId": asked.run_id}))
        try:
            result = await around.carry(asked)
        except TimeoutError as error:
            return ErrorDetail("SubflowFailed", str(error))
        if self._stopped.is_set():
            return None
        self.subflows[key] = result
        if result.status == "completed":
            writes = writes_of(subflow, result)
            done = NodeResult(output_of(result))
            self._completed(key, step, done, writes, attempts=attempt, started=started)
        elif result.status == "paused":
            self.held = True
        elif result.status != "awaiting":
            return why_failed(result)
        return None

    async def _fall_back(self, key: str, step: Step, error: ErrorDetail, attempts: int, started: str) -> None:
        if step.fallback is None or error.type == "SubflowCancelled":
            self._failed(key, step, error, attempts, started)
            return
        work = self._work(key, step.fallback, self._input_of(key, step))
        work = replace(work, policy=replace(work.policy, max_attempts=1))
        outcome = await execute_node(work, self._around, first_attempt=attempts + 1)
        self._executed(key, step, outcome, started)

    # ---- batches, and nodes that nodes make ----

    def _scatter(self, key: str, step: Step, started: str) -> None:
        definition = step.planned.definition
        try:
            made = scattered(key, definition, self._input_of(key, step))
        except (BlueprintError, InputError) as error:
            self._failed(key, step, ErrorDetail.of(error), 1, started)
            return
        if made is None:
            self._completed(key, step, scatter_result(definition), {}, attempts=1, started=started)
        else:
            self._own(self._record(key, step, started), made, 1)

    def _turn_loop(self, key: str, step: Step, started: str) -> None:
        condition, value = controller_condition(step.planned.definition), self._input_of(key, step)
        try:
            result = loop_result(key, condition, value, self._facts_of(key, step), self._surround.evaluator)
        except EvaluationError as error:
            self._failed(key, step, ErrorDetail.of(error), 1, started)
            return
        self._completed(key, step, result, {}, attempts=1, started=started)

    def _gather(self, key: str, step: Step, started: str) -> None:
        found = gather(self._plan, key, self._facts_of(key, step), self.records)
        output_key = step.planned.definition.params.get("outputKey")
        writes = {output_key: found} if isinstance(output_key, str) and output_key else {}
        self._completed(key, step, NodeResult(found), writes, attempts=1, started=started)

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
        self._await(owner)
        begun = self._owners.learn(owner)
        if begun is not None and not self._stopped.is_set():
            self._route(begun)

    def _awaited(self, key: str, step: Step, own: NodeRecord) -> None:
        """All children are resolved: their owner completes with the result that it had before them."""
        result = Owned.of(own).result
        self._owners.forget(key)
        self._completed(key, step, result, {}, attempts=own.attempt, started=own.started_at)

    def _await(self, record: NodeRecord, delay_s: float | None = None) -> None:
        """Let a node key wait, for so many seconds or for a decision."""
        self.records[record.key] = record
        if self._telemetry is not None:
            self._telemetry.recorded(self._plan, record, {})
        if delay_s is None:
            return
        if self._control is not None and self._control.pausing:
            self.held = True
        else:
            self._set_alarm(record.key, delay_s)

    def _waited(self, key: str, step: Step) -> NodeResult:
        """The result of a node that waited: the decision's, or the input that a sleep passes on."""
        decision = self._decisions.get(key)
        if decision is not None:
            return NodeResult(decision.output, decision.action)
        return NodeResult(self._input_of(key, step))

    def _input_of(self, key: str, step: Step) -> Any:
        given = self._surround.inputs
        if given:
            for name in (key, step.planned.id):
                if name in given:
                    return given[name]
        owned = self._owners.owned(key)
        if owned is not None:
            named = self._owners.facts(owned, key, self._facts)
            if self._plan.loops:  # a name means another record in each round
                wanted = owned.needs(self._plan, key, self._program.evaluator).records
                named = replace(named, records=self.marks.seen(key, wanted, edges=False).records)
            return owned.input(self._plan, key, named)
        return node_input(self._plan, key, self._facts_of(key, step))

    def _work(self, key: str, code: Code, value: Any) -> Work:
        return Work(code.implementation, partial(self._node_context, key, code, value), code.policy)

    def _node_context(self, key: str, code: Code, value: Any, attempt: int) -> NodeContext:
        return NodeContext(
            input=value,
            params=code.params,
            context=RunContext(self._read),
            run_id=self._run_id,
            node_id=code.node_id,
            node_key=key,
            attempt=attempt,
            dependencies=self._surround.dependencies,
            cancelled=self._stopped,
        )

    async def _read(self, name: str) -> Any:
        if name in self.context:
            return self.context[name]
        return self._input.get(name, MISSING) if isinstance(self._input, Mapping) else MISSING

    def _facts_of(self, key: str, step: Step) -> Facts:
        """What the node may see: where it names facts, those alone, as a worker would load them."""
        wanted = step.needs
        if self._plan.loops:
            return self._facts_in_loops(key, wanted)
        if wanted is None:
            return self._facts
        records, context = self.records, self.context
        return Facts(
            {name: records[name] for name in wanted.records if name in records},
            {name: context[name] for name in wanted.context if name in context},
            self._input,
        )

    def _facts_in_loops(self, key: str, wanted: Needs | None) -> Facts:
        seen = self.marks.seen(key, wanted.named if wanted is not None else ())
        behind = {record.node: record for record in seen.edges.values()}
        context = {
            name: self.context[name]
            for name in (wanted.context if wanted is not None else ())
            if name in self.context
        }
        return Facts({**behind, **seen.records}, context, self._input, seen.edges)

    # ---- records, and what follows from them ----

    def _record(self, key: str, step: Step, started: str) -> NodeRecord:
        """An ``awaiting`` record, to be completed by the caller."""
        own = self.records.get(key)
        return NodeRecord(
            key,
            step.planned.id,
            "awaiting",
            started_at=started,
            seq=self._seq(key, step),
            waits_for=None if own is None else own.waits_for,
        )

    def _seq(self, key: str, step: Step) -> int:
        own, owned = self.records.get(key), self._owners.owned(key)
        if own is not None and own.kind == "children":
            return seq_after(own)
        if owned is not None:
            return owned.seq
        if self._plan.loops:
            return 1 + max((record.seq for record in self.marks.seen(key).edges.values()), default=0)
        records, highest = self.records, 0
        for source in step.sources:
            if source in records:
                highest = max(highest, records[source].seq)
        return highest + 1

    def _now(self) -> str:
        """The time as records have it; most of them are written within the millisecond of another."""
        now = self._surround.clock.now()
        if not self._shown_from <= now < self._shown_until:
            self._shown_from = now.replace(microsecond=now.microsecond // 1000 * 1000)
            self._shown_until = self._shown_from + _MILLISECOND
            self._shown = iso(now)
        return self._shown

    def _completed(
        self,
        key: str,
        step: Step,
        result: NodeResult,
        writes: Mapping[str, Any],
        *,
        attempts: int,
        started: str,
    ) -> None:
        if result.dynamic_nodes:
            self._make(key, step, result, writes, attempts=attempts, started=started)
            return
        taken, values = step.plain, _NONE
        if taken is None or (result.action is not None and step.planned.outgoing):
            facts = self._facts_of(key, step)
            if writes and step.needs is not None:
                facts = replace(facts, context=_overlaid(facts.context, writes))
            try:
                taken, values = choose_edges(self._plan, key, result, facts, self._surround.evaluator)
            except EvaluationError as error:
                self._failed(key, step, ErrorDetail.of(error), attempts, started)
                return
        if step.planned.scope and (reason := too_many_rounds(self._plan, key, taken)) is not None:
            self._failed(key, step, ErrorDetail("LoopWithoutEnd", reason), attempts, started)
            return
        self._write(key, writes)
        own = self.records.get(key)
        decision = self._decisions.get(key) if self._decisions else None
        record = self.records[key] = NodeRecord(
            key,
            step.planned.id,
            "completed",
            result.output,
            result.action,
            taken,
            values,
            attempts,
            started_at=started,
            finished_at=self._now(),
            seq=self._seq(key, step),
            decision=None if decision is None else {"action": decision.action, "output": decision.output},
            children=None if own is None else own.children,
            waits_for=None if own is None else own.waits_for,
        )
        if self._telemetry is not None:
            self._telemetry.recorded(self._plan, record, writes)
        if step.planned.scope:
            self.marks.learn(key, taken)
        if not self._stopped.is_set():
            self._route(self._owners.follow(key, taken))

    def _write(self, key: str, writes: Mapping[str, Any]) -> None:
        if writes:
            self.writes[key] = writes
        for name, value in writes.items():
            if value is MISSING:
                self.context.pop(name, None)
            else:
                self.context[name] = value

    def _make(
        self,
        key: str,
        step: Step,
        result: NodeResult,
        writes: Mapping[str, Any],
        *,
        attempts: int,
        started: str,
    ) -> None:
        """Nodes that the node gave back come before its edges."""
        try:
            made = made_by(key, result, self._program.registry.implements)
        except OutputError as error:
            self._failed(key, step, ErrorDetail.of(error), attempts, started)
            return
        self._write(key, writes)
        self._own(self._record(key, step, started), made, attempts)

    def _failed(
        self,
        key: str,
        step: Step,
        error: ErrorDetail,
        attempts: int,
        started: str,
        *,
        fatal: bool = False,
    ) -> None:
        owned = self._owners.owned(key)
        kept = owned is not None and owned.children.on_error != "fail" and not fatal
        record = self.records[key] = replace(
            self._record(key, step, started),
            status="completed" if kept else "failed",
            error=error.to_dict(),
            attempt=attempts,
            finished_at=self._now(),
        )
        if self._telemetry is not None:
            self._telemetry.recorded(self._plan, record, {})
        if not kept:
            self.failed = True
            self._stop()
        elif not self._stopped.is_set():
            self._route(self._owners.follow(key, ()))

    def _route(self, wave: Wave) -> None:
        """Record the dead path of a wave, queue what it made ready, and make its arrivals."""
        waves = [wave]
        for current in waves:  # grows where a join is dead
            self._skip(current.skipped)
            for key in current.ready:
                self._queue(key)
            self.ended = self.ended or current.ended
            for join in current.joins:
                state = self._arrive(join)
                if state is Join.OPEN:
                    continue
                if join.round:
                    waves.append(self.marks.round_over(join, turned=state is Join.READY))
                elif not join.node:
                    self.ended = True
                elif is_children_join(join.join):
                    self._wake(join.node)
                else:
                    waves.append(fired(self._plan, join, ready=state is Join.READY))

    def _queue(self, key: str) -> None:
        if key not in self.records:
            self._ready.append(key)

    def _wake(self, key: str) -> None:
        """The children of a node key are all resolved; it goes on, unless it did so before."""
        if not self.records[key].resolved:
            self._ready.append(key)

    def _skip(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            if key not in self.records:
                self.records[key] = NodeRecord(
                    key, NodeKey.parse(key).node, "skipped", finished_at=self._now()
                )
                self.marks.learn(key, ())
                if self._telemetry is not None:
                    self._telemetry.skipped((key,))

    def _arrive(self, join: JoinStates) -> Join:
        """The state of a join after these edges; ``OPEN`` also if it was decided before."""
        states = self._arrived.setdefault(join.join, {})
        if states is _FIRED:
            return Join.OPEN
        states.update(join.states)
        state = join_state(states, join.expected, any_join=join.any_join)
        if state is not Join.OPEN:
            self._arrived[join.join] = _FIRED
        return state


def _overlaid(context: Mapping[str, Any], writes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**context, **writes}
    return {name: value for name, value in merged.items() if value is not MISSING}

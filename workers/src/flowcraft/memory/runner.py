"""Running blueprints in memory, from their start or from where one waits, to a result."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any, Final

from flowcraft.analysis import analyze_blueprint
from flowcraft.blueprint import Blueprint
from flowcraft.clock import SystemClock
from flowcraft.engine.subflows import UnableError
from flowcraft.errors import AppError, BlueprintError, FlowcraftError
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.extensions import Extensions
from flowcraft.implementation import Registry
from flowcraft.memory.control import RunControl
from flowcraft.memory.program import Program
from flowcraft.memory.result import Decision, RunResult, RunStatus
from flowcraft.memory.run import MemoryRun
from flowcraft.memory.subflows import Asked, Subflows, addressed
from flowcraft.memory.surround import Surround
from flowcraft.node_failures import failure
from flowcraft.ports.clock import Clock
from flowcraft.records import NodeRecord
from flowcraft.targets import towards
from flowcraft.telemetry import Telemetry

DEFAULT_CONCURRENCY: Final = 16
MAX_PROGRAMS: Final = 256


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


class MemoryRunner:
    """Runs blueprints whose code is in one registry."""

    def __init__(
        self,
        registry: Registry,
        dependencies: Mapping[str, Any],
        extensions: Extensions | None = None,
        find: Callable[[str, str | None], Blueprint | None] | None = None,
    ) -> None:
        """Take the code, what is handed to it, and how blueprints of subflows are found."""
        self._registry = registry
        self._find = find or _find_none
        self._dependencies = dependencies
        self._extensions = extensions or Extensions()
        self._evaluator = self._extensions.evaluator or ExpressionEvaluator()
        self._random = Random()  # noqa: S311  jitter
        self._programs: OrderedDict[str, Program] = OrderedDict()

    async def run(self, blueprint: Blueprint, input: Any, options: RunOptions) -> RunResult:  # noqa: A002
        """Run from the start until it completes, fails, or only decisions can move it.

        Raises:
            AppError: there is no node of a name in the options.
            BlueprintError: the blueprint has mistakes, uses code that is not registered, or has a cycle where
                that is refused.
            NotJsonError: the input cannot be kept as JSON.
        """
        if options.strict:
            _refuse_cycles(blueprint)
        if options.targets:
            blueprint = towards(blueprint, options.targets)
        program = self._program(blueprint)
        run_id = options.run_id or str(uuid.uuid4())
        given = {} if input is None else self._extensions.serializer.encode(input)
        return await self._carried(program, options, _Begun(run_id, given), MemoryRun.go)

    async def resume(
        self, result: RunResult, decisions: Mapping[str, Decision], options: RunOptions
    ) -> RunResult:
        """Go on with a run that awaits decisions; the result given stays as it is.

        Raises:
            AppError: a node decided on does not wait.
            NotJsonError: a decision's output cannot be kept as JSON.
        """
        own, nested = addressed(result, decisions)
        return await self._go_on(result, own, nested, options)

    async def complete(
        self, result: RunResult, decisions: Mapping[str, Decision], options: RunOptions
    ) -> RunResult:
        """Go on with a run, these results taken for nodes that wait or have no record.

        Raises:
            NotJsonError: an output cannot be kept as JSON.
        """
        return await self._go_on(result, decisions, {}, options)

    async def _go_on(
        self,
        result: RunResult,
        decisions: Mapping[str, Decision],
        nested: Mapping[str, Mapping[str, Decision]],
        options: RunOptions,
        above: int = 0,
    ) -> RunResult:
        encode = self._extensions.serializer.encode
        plain = {
            key: Decision(decision.action or None, encode(decision.output))
            for key, decision in decisions.items()
        }

        async def go_on(run: MemoryRun) -> None:
            run.ledger.writes.update(result.writes)
            run.nesting.results.update(result.subflows)
            await run.go_on(result.records, result.context, plain, nested)

        program = self._program(result.blueprint)
        begun = _Begun(result.run_id, result.input, again=True, above=above)
        return await self._carried(program, options, begun, go_on)

    async def _carry(self, options: RunOptions, control: RunControl | None, asked: Asked) -> RunResult:
        """Carry a child run on, for so long as it may take."""
        options = replace(
            options,
            run_id=asked.run_id,
            targets=(),
            inputs={},
            control=control and control.inside(),
            signal=None,
            strict=False,
        )
        try:
            program = self._program(asked.blueprint)
        except BlueprintError as error:
            raise UnableError("InvalidBlueprint", str(error)) from None
        if asked.before is None:
            begun = _Begun(asked.run_id, asked.input, above=asked.above)
            carrying = self._carried(program, options, begun, MemoryRun.go)
        else:
            own, nested = addressed(asked.before, asked.decisions)
            carrying = self._go_on(asked.before, own, nested, options, asked.above)
        if asked.timeout_s is None:
            return await asyncio.get_running_loop().create_task(carrying)
        return await _in_time(carrying, asked, options.clock)

    async def _carried(
        self,
        program: Program,
        options: RunOptions,
        begun: _Begun,
        go: Callable[[MemoryRun], Coroutine[Any, Any, None]],
    ) -> RunResult:
        """Carry a run on until nothing moves, and tell its beginning and its end."""
        events = self._extensions.events
        blueprint_id = program.plan.blueprint.id
        telemetry = Telemetry.of(events, options.clock, begun.run_id, blueprint_id)
        if telemetry is not None:
            telemetry.resumed() if begun.again else telemetry.started(begun.input)
        tracing = self._extensions.tracing
        surround = self._surround(program, options, begun.above)
        run = MemoryRun(program, surround, begun.run_id, begun.input)
        try:
            if tracing is None and options.signal is None:
                await _unwrapped(go(run))
            else:
                running = nullcontext() if tracing is None else tracing.running(begun.run_id, blueprint_id)
                with running, _signalled(options.signal, surround.control):
                    await _unwrapped(go(run))
        finally:
            if surround.threads is not None and surround.threads is not options.threads:
                surround.threads.shutdown(wait=False, cancel_futures=True)
        result = _result(run, program, begun.run_id, begun.input)
        if telemetry is not None:
            if result.status in ("awaiting", "paused"):
                telemetry.paused()
            else:
                telemetry.finished(result.status, result.output, result.errors)
            await events.drain()
        return result

    def _program(self, blueprint: Blueprint) -> Program:
        name = blueprint.content_hash
        program = self._programs.get(name)
        if program is None:
            program = self._programs[name] = Program.of(blueprint, self._registry, self._evaluator)
            if len(self._programs) > MAX_PROGRAMS:
                self._programs.popitem(last=False)
        return program

    def _surround(self, program: Program, options: RunOptions, above: int) -> Surround:
        threads = options.threads
        if program.blocks and threads is None:
            threads = ThreadPoolExecutor(options.concurrency, thread_name_prefix="node")
        control = options.control
        if control is None and options.signal is not None:
            control = RunControl()
        encode = self._extensions.serializer.encode
        return Surround(
            clock=options.clock,
            random=options.random or self._random,
            evaluator=self._evaluator,
            dependencies=self._dependencies,
            concurrency=options.concurrency,
            threads=threads,
            extensions=self._extensions,
            control=control,
            inputs={name: encode(value) for name, value in options.inputs.items()},
            subflows=Subflows(self._find, partial(self._carry, options, control), above),
        )


@dataclass(frozen=True, slots=True)
class _Begun:
    """Which run is carried on, and whether it was begun before."""

    run_id: str
    input: Any
    again: bool = False
    above: int = 0


async def _in_time(carrying: Coroutine[Any, Any, RunResult], asked: Asked, clock: Clock) -> RunResult:
    """Await a child run for so long as it may take.

    Raises:
        TimeoutError: it took longer, and was ended.
    """
    limit_s = asked.timeout_s or 0.0
    task = asyncio.get_running_loop().create_task(carrying)
    timer = asyncio.get_running_loop().create_task(clock.sleep(limit_s))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        timer.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    raise TimeoutError(
        f"run {asked.run_id} of blueprint {asked.blueprint.id} failed: it took longer than {limit_s:g} s"
    )


def _find_none(_blueprint_id: str, _version: str | None) -> Blueprint | None:
    return None


def _refuse_cycles(blueprint: Blueprint) -> None:
    cycles = analyze_blueprint(blueprint).cycles
    if cycles:
        shown = " -> ".join(cycles[0])
        raise BlueprintError(f"blueprint {blueprint.id} has a cycle, which strict mode refuses: {shown}")


@contextmanager
def _signalled(signal: asyncio.Event | None, control: RunControl | None) -> Iterator[None]:
    """Cancel the run when the signal is set."""
    if signal is None or control is None:
        yield
        return

    async def watch() -> None:
        await signal.wait()
        control.cancel()

    if signal.is_set():
        control.cancel()
    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


async def _unwrapped(carrying: Any) -> None:
    """A defect in the engine as itself, not in the group of the tasks that met it."""
    try:
        await carrying
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _result(run: MemoryRun, program: Program, run_id: str, given: Any) -> RunResult:
    ledger, lanes = run.ledger, run.lanes
    records = ledger.records
    failed: list[NodeRecord] = []
    status: RunStatus
    if lanes.cancelled:
        status = "cancelled"
    elif run.turns.failed:
        failed = [record for record in records.values() if record.status == "failed"]
        status = "failed"
    elif ledger.ended:
        status = "completed"
    elif lanes.held:
        status = "paused"
    elif any(not record.resolved for record in records.values()):
        status = "awaiting"
    else:
        raise FlowcraftError(f"run {run_id} can neither move nor end: a defect of the engine")
    output = None
    if status == "completed":
        latest = ledger.marks.latest(program.terminal)
        known = ((key, latest.get(key)) for key in program.terminal)
        output = {key: found.output for key, found in known if found and found.status == "completed"}
    errors = tuple(failure(record) for record in failed)
    return RunResult(
        run_id,
        program.plan.blueprint,
        given,
        status,
        output,
        errors,
        records,
        dict(ledger.context),
        ledger.writes,
        run.nesting.results,
    )

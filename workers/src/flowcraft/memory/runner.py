"""Running blueprints in memory, from their start or from where one waits, to a result."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from flowcraft.blueprint import Blueprint
from flowcraft.clock import SystemClock
from flowcraft.distributed.ending import failure
from flowcraft.errors import AppError, FlowcraftError
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.implementation import Registry
from flowcraft.json_values import plain_json
from flowcraft.memory.program import Program
from flowcraft.memory.result import Decision, RunResult, RunStatus
from flowcraft.memory.run import MemoryRun, Surround
from flowcraft.ports.clock import Clock
from flowcraft.records import NodeRecord

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
    """

    run_id: str = ""
    concurrency: int = DEFAULT_CONCURRENCY
    clock: Clock = field(default_factory=SystemClock)
    random: Random | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise AppError(f"concurrency must be 1 or more, not {self.concurrency}")


class MemoryRunner:
    """Runs blueprints whose code is in one registry."""

    def __init__(self, registry: Registry, dependencies: Mapping[str, Any]) -> None:
        self._registry = registry
        self._dependencies = dependencies
        self._evaluator = ExpressionEvaluator()
        self._random = Random()  # noqa: S311  jitter
        self._programs: OrderedDict[str, Program] = OrderedDict()

    async def run(self, blueprint: Blueprint, input: Any, options: RunOptions) -> RunResult:  # noqa: A002
        """Run from the start until it completes, fails, or only decisions can move it.

        Raises:
            BlueprintError: the blueprint has mistakes, or uses code that is not registered.
            NotJsonError: the input is not JSON.
        """
        program = self._program(blueprint)
        run_id = options.run_id or str(uuid.uuid4())
        given = {} if input is None else plain_json(input)
        with self._surround(program, options) as surround:
            run = MemoryRun(program, surround, run_id, given)
            await _unwrapped(run.go())
        return _result(run, program, run_id, given)

    async def resume(
        self, result: RunResult, decisions: Mapping[str, Decision], options: RunOptions
    ) -> RunResult:
        """Go on with a run that awaits decisions; the result given stays as it is.

        Raises:
            AppError: a node decided on does not wait.
            NotJsonError: a decision's output is not JSON.
        """
        for key in decisions:
            if key not in result.awaiting:
                waiting = ", ".join(result.awaiting) or "nothing"
                raise AppError(f"node {key!r} of run {result.run_id} does not wait; {waiting} does")
        plain = {
            key: Decision(decision.action or None, plain_json(decision.output))
            for key, decision in decisions.items()
        }
        program = self._program(result.blueprint)
        with self._surround(program, options) as surround:
            run = MemoryRun(program, surround, result.run_id, result.input)
            await _unwrapped(run.go_on(result.records, result.context, plain))
        return _result(run, program, result.run_id, result.input)

    def _program(self, blueprint: Blueprint) -> Program:
        name = blueprint.content_hash
        program = self._programs.get(name)
        if program is None:
            program = self._programs[name] = Program.of(blueprint, self._registry, self._evaluator)
            if len(self._programs) > MAX_PROGRAMS:
                self._programs.popitem(last=False)
        return program

    @contextmanager
    def _surround(self, program: Program, options: RunOptions) -> Iterator[Surround]:
        threads: Executor | None = None
        if program.blocks:
            threads = ThreadPoolExecutor(options.concurrency, thread_name_prefix="node")
        try:
            yield Surround(
                clock=options.clock,
                random=options.random or self._random,
                evaluator=self._evaluator,
                dependencies=self._dependencies,
                concurrency=options.concurrency,
                threads=threads,
            )
        finally:
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)


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
    records = run.records
    failed: list[NodeRecord] = []
    status: RunStatus
    if run.failed:
        failed = [record for record in records.values() if record.status == "failed"]
        status = "failed"
    elif run.ended:
        status = "completed"
    elif any(not record.resolved for record in records.values()):
        status = "awaiting"
    else:
        raise FlowcraftError(f"run {run_id} can neither move nor end: a defect of the engine")
    output = None
    if status == "completed":
        known = ((key, records.get(key)) for key in program.terminal)
        output = {key: found.output for key, found in known if found and found.status == "completed"}
    errors = tuple(failure(record) for record in failed)
    return RunResult(
        run_id, program.plan.blueprint, given, status, output, errors, records, dict(run.context)
    )

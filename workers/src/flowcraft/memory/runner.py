"""Running blueprints in memory, from their start or from where one waits, to a result."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final

from flowcraft.analysis import analyze_blueprint
from flowcraft.blueprint import Blueprint
from flowcraft.engine.subflows import UnableError
from flowcraft.errors import BlueprintError
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.extensions import Extensions
from flowcraft.implementation import Registry
from flowcraft.memory.bounds import in_time, signalled, unwrapped
from flowcraft.memory.control import RunControl
from flowcraft.memory.options import RunOptions
from flowcraft.memory.program import Program
from flowcraft.memory.result import Decision, RunResult
from flowcraft.memory.run import MemoryRun
from flowcraft.memory.stamps import Stamps
from flowcraft.memory.subflows import Asked, Subflows, addressed
from flowcraft.memory.surround import Surround
from flowcraft.targets import towards
from flowcraft.values import value_class

MAX_PROGRAMS: Final = 256


class MemoryRunner:
    """Runs blueprints whose code is in one registry.

    Attributes:
        usual: How runs are carried out of which nothing else is said.
    """

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
        self.usual = RunOptions()
        self._usual_surround = self._surround(self.usual, 0, None)

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
        run_id = options.run_id or _new_run_id()
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
        return await in_time(carrying, asked, options.clock)

    async def _carried(
        self,
        program: Program,
        options: RunOptions,
        begun: _Begun,
        go: Callable[[MemoryRun], Coroutine[Any, Any, None]],
    ) -> RunResult:
        """Carry a run on until nothing moves, and tell its beginning and its end."""
        surround = self._surrounding(program, options, begun.above)
        run = MemoryRun(program, surround, begun.run_id, begun.input)
        telemetry = run.telemetry
        if telemetry is not None:
            telemetry.resumed() if begun.again else telemetry.started(begun.input)
        tracing = self._extensions.tracing
        try:
            if tracing is None and options.signal is None:
                await unwrapped(go(run))
            else:
                blueprint_id = program.plan.blueprint.id
                running = nullcontext() if tracing is None else tracing.running(begun.run_id, blueprint_id)
                with running, signalled(options.signal, surround.control):
                    await unwrapped(go(run))
        finally:
            if surround.threads is not None and surround.threads is not options.threads:
                surround.threads.shutdown(wait=False, cancel_futures=True)
        result = run.result()
        if telemetry is not None:
            if result.status in ("awaiting", "paused"):
                telemetry.paused()
            else:
                telemetry.finished(result.status, result.output, result.errors)
            await self._extensions.events.drain()
        return result

    def _program(self, blueprint: Blueprint) -> Program:
        name = blueprint.content_hash
        program = self._programs.get(name)
        if program is None:
            program = self._programs[name] = Program.of(blueprint, self._registry, self._evaluator)
            if len(self._programs) > MAX_PROGRAMS:
                self._programs.popitem(last=False)
        return program

    def _surrounding(self, program: Program, options: RunOptions, above: int) -> Surround:
        threads = options.threads
        if program.blocks and threads is None:
            threads = ThreadPoolExecutor(options.concurrency, thread_name_prefix="node")
        elif options is self.usual and not above:
            return self._usual_surround
        return self._surround(options, above, threads)

    def _surround(self, options: RunOptions, above: int, threads: Executor | None) -> Surround:
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
            stamps=Stamps(options.clock),
            control=control,
            inputs={name: encode(value) for name, value in options.inputs.items()},
            subflows=Subflows(self._find, partial(self._carry, options, control), above),
        )


@value_class
class _Begun:
    """Which run is carried on, and whether it was begun before."""

    run_id: str
    input: Any
    again: bool = False
    above: int = 0


def _new_run_id() -> str:
    """A random UUID (RFC 9562, version 4); ``uuid.uuid4`` makes a number of it first."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _find_none(_blueprint_id: str, _version: str | None) -> Blueprint | None:
    return None


def _refuse_cycles(blueprint: Blueprint) -> None:
    cycles = analyze_blueprint(blueprint).cycles
    if cycles:
        shown = " -> ".join(cycles[0])
        raise BlueprintError(f"blueprint {blueprint.id} has a cycle, which strict mode refuses: {shown}")

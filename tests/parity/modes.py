"""Our ways to run a program: in memory, and on the embedded backend with one worker or several."""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import AsyncExitStack
from typing import Any, Self

from tests.parity.behaviour import IMPLEMENTATIONS, Traces
from tests.parity.outcome import Outcome, of_records, seen_keys
from tests.parity.programs import Program

from flowcraft import Blueprint, FlowRuntime
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.engine.marks import is_mark
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.implementation import Registry
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import Decision
from flowcraft.runtime import BlueprintCatalog, RuntimeOptions
from flowcraft_api.wire import HeaderDocument

DECISION = Decision("yes", {"ok": True})
ENDS = ("completed", "failed", "cancelled")


class InMemory:
    """Runs in this process, without queue and store."""

    async def run(self, program: Program) -> Outcome:
        """Run a program to its end, every waiting node decided alike."""
        traces = Traces()
        runtime = FlowRuntime(
            blueprints=program.subflows,
            registry=IMPLEMENTATIONS,
            dependencies={"traces": traces},
        )
        blueprint = Blueprint.from_dict(program.blueprint)
        result = await runtime.run(blueprint, program.input, RunOptions("memory"))
        while result.status == "awaiting":
            result = await runtime.resume(result, dict.fromkeys(result.awaiting, DECISION))
        keys = seen_keys(program.input, result.context, result.deleted)
        return of_records(result.status, result.records, keys, traces.of_family("memory"))


class Embedded:
    """Runs through the queue and the store of the embedded backend, with real workers on it."""

    def __init__(self, workers: int) -> None:
        self._count = workers
        self._stack = AsyncExitStack()
        self._traces = Traces()

    async def __aenter__(self) -> Self:
        clock = SystemClock()
        backend = await self._stack.enter_async_context(open_embedded(":memory:", "parity", clock))
        self._facts = backend.facts
        ports = ("parity", backend.queue, backend.facts, backend.coordination)
        self._client = Client(*ports, clock)
        self._catalog = BlueprintCatalog()
        catalog = RuntimeOptions(self._catalog, Registry(IMPLEMENTATIONS), {"traces": self._traces})
        for number in range(self._count):
            services = Services(
                *ports,
                clock,
                random.Random(number),  # noqa: S311  jitter
                ExpressionEvaluator(),
                catalog,
                f"worker-{number}",
                settings=WorkerSettings(concurrency=8, idle_min_s=0.002, idle_warm_s=0.01),
            )
            await self._stack.enter_async_context(Worker(services))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self, program: Program) -> Outcome:
        """Run a program to its end, every waiting node decided alike."""
        run_id = str(uuid.uuid4())
        for subflow in program.subflows:
            self._catalog.add(Blueprint.from_dict(subflow))
        blueprint = Blueprint.from_dict(program.blueprint)
        await self._client.start(RunRequest(run_id, blueprint.id, input=dict(program.input)), blueprint)
        status = await self._ended(run_id)
        node_ids = [node.id for node in blueprint.nodes]
        rounds = [key for key in await self._client.records(run_id) if "#" in key]
        loaded = await self._facts.load(run_id, nodes=[*node_ids, *rounds])
        records = {key: stored.record for key, stored in loaded.records.items()}
        wrote = {name for record in records.values() for name in record.wrote if not is_mark(name)}
        loaded = await self._facts.load(run_id, context=sorted(wrote))
        left = seen_keys(program.input, loaded.context, loaded.deleted)
        return of_records(status, records, left, self._traces.of_family(run_id))

    async def _ended(self, run_id: str) -> str:
        decided: set[tuple[str, str]] = set()
        while True:
            header = await self._client.header(run_id)
            if header["status"] in ENDS:
                return header["status"]
            await self._decide(header, decided)
            await asyncio.sleep(0.001)

    async def _decide(self, header: HeaderDocument, decided: set[tuple[str, str]]) -> None:
        """Answer whatever waits in a run, and in the runs that it waits for."""
        for entry in header.get("awaiting", ()):
            place = (header["runId"], entry["nodeKey"])
            if entry.get("runId"):
                await self._decide(await self._client.header(entry["runId"]), decided)
            elif not entry.get("until") and place not in decided:
                decided.add(place)
                await self._client.decide(*place, action=DECISION.action, output=DECISION.output)


class Modes:
    """All of them on one event loop, for tests that are not coroutines."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._memory = InMemory()
        self._embedded: dict[int, Embedded] = {}

    def in_memory(self, program: Program) -> Outcome:
        return self._runner.run(self._memory.run(program))

    def embedded(self, program: Program, workers: int = 1) -> Outcome:
        return self._runner.run(self._run_embedded(program, workers))

    async def _run_embedded(self, program: Program, workers: int) -> Outcome:
        if workers not in self._embedded:
            self._embedded[workers] = await Embedded(workers).__aenter__()
        return await asyncio.wait_for(self._embedded[workers].run(program), 20)

    def close(self) -> None:
        for mode in self._embedded.values():
            self._runner.run(mode.__aexit__())
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

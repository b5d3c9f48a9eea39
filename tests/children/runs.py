"""Runs of one app in each of our modes: in memory, and on the embedded backend with workers."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from flowcraft import App, FlowRuntime
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.records import NodeRecord
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument

SETTINGS = WorkerSettings(concurrency=8, idle_min_s=0.002, idle_warm_s=0.01)


@dataclass(frozen=True)
class Ended:
    """What a run came to, in the same words for every mode."""

    status: str
    output: Any
    errors: tuple[Mapping[str, Any], ...]
    records: Mapping[str, NodeRecord]
    context: Mapping[str, Any] = field(default_factory=dict)
    header: HeaderDocument | None = None


async def in_memory(app: App, flow: str, given: Any, *_keys: str) -> Ended:
    """Run in this process."""
    options = app.options
    runtime = FlowRuntime(
        blueprints=list(options.blueprints.values()),
        registry=options.registry,
        dependencies=options.dependencies,
    )
    result = await runtime.run(flow, given)
    output = None if result.output is None else dict(result.output)
    return Ended(result.status, output, result.errors, result.records, result.context)


async def embedded(app: App, flow: str, given: Any, *keys: str) -> Ended:
    """Run on two workers."""
    async with place(app) as here:
        return await here.run(flow, given, *keys)


MODES: Mapping[str, Callable[..., Awaitable[Ended]]] = {"in memory": in_memory, "embedded": embedded}


@dataclass(frozen=True)
class Place:
    """Workers of an app on an embedded backend, and a client."""

    client: Client
    app: App
    workers: tuple[Worker, ...]
    services: Services

    async def start(self, flow: str, given: Any) -> str:
        """Start a run; its id."""
        run_id = str(uuid.uuid4())
        await self.client.start(RunRequest(run_id, flow, input=given))
        return run_id

    async def until(self, run_id: str, holds: Callable[[HeaderDocument], bool]) -> HeaderDocument:
        """The header as soon as it is as wanted."""
        async with asyncio.timeout(20):
            while not holds(header := await self.client.header(run_id)):  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.002)
        return header

    async def ended(self, run_id: str, *keys: str) -> Ended:
        """What the run came to; context keys are read where they are named."""
        header = await self.until(run_id, lambda header: header["status"] in TERMINAL_STATUSES)
        known = await self.client.records(run_id)
        loaded = await self.client.facts.load(run_id, nodes=list(known), context=keys)
        records = {key: stored.record for key, stored in loaded.records.items()}
        errors = tuple(header.get("errors", ()))
        return Ended(header["status"], header.get("output"), errors, records, loaded.context, header)

    async def run(self, flow: str, given: Any, *keys: str) -> Ended:
        """Run to the end."""
        return await self.ended(await self.start(flow, given), *keys)


@asynccontextmanager
async def place(app: App, workers: int = 2, settings: WorkerSettings = SETTINGS) -> AsyncIterator[Place]:
    """Workers for an app."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_embedded(":memory:", "children", clock))
        ports = ("children", backend.queue, backend.facts, backend.coordination)
        made = []
        for number in range(workers):
            services = Services(
                *ports, clock, random.Random(number), ExpressionEvaluator(), app.options,  # noqa: S311
                f"worker-{number}", settings=settings,
            )  # fmt: skip
            made.append(await stack.enter_async_context(Worker(services)))
        yield Place(Client(*ports, clock), app, tuple(made), services)

"""A client and workers on a backend, by default on one SQLite file in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from flowcraft import App
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.ports import JobQueue
from flowcraft_api.wire import HeaderDocument

ENDS = {"completed", "failed", "cancelled"}


class Bench:
    """Runs of an app."""

    def __init__(self, client: Client, queue: JobQueue) -> None:
        self.client = client
        self.queue = queue

    async def until(self, run_id: str, look: Callable[[HeaderDocument], Any]) -> HeaderDocument:
        while True:
            header = await self.client.header(run_id)
            if look(header):
                return header
            await asyncio.sleep(0.002)

    async def run(self, blueprint_id: str, given: Mapping[str, Any] | None = None) -> HeaderDocument:
        run_id = await self.client.start_workflow(blueprint_id, dict(given or {}))
        return await self.until(run_id, lambda header: header["status"] in ENDS)


@asynccontextmanager
async def bench(app: App, workers: int = 1, ports: Ports | None = None) -> AsyncIterator[Bench]:
    """Run an app's flows with so many workers on these ports."""
    options = app.options
    async with AsyncExitStack() as stack:
        if ports is None:
            backend = await stack.enter_async_context(open_embedded(":memory:", "q", SystemClock()))
            ports = Client("q", backend.queue, backend.facts, backend.coordination, SystemClock())
        shared = (ports.queue_name, ports.queue, ports.facts, ports.coordination, ports.clock)
        for number in range(workers):
            services = Services(
                *shared,
                random.Random(number),  # noqa: S311  jitter
                options.extensions.evaluator or ExpressionEvaluator(),
                options,
                f"w{number}",
                settings=WorkerSettings(concurrency=4, idle_min_s=0.002, idle_warm_s=0.01),
            )
            await stack.enter_async_context(Worker(services))
        yield Bench(Client(*shared, options.extensions.tracing), ports.queue)

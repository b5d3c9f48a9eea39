"""The engine as a contestant: one worker and its client in one process, over embedded or Azure ports."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from benchmarks.documents import RUN_INPUT
from benchmarks.laps import CONCURRENCY, WARM_UP, Lap, Load, Stopwatch, keep_busy
from benchmarks.workflows import app
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.ports import Coordination, FactStore, JobQueue, Stored
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument

Requests = Mapping[str, Mapping[str, int]]


class RunEndedError(RuntimeError):
    """A run that should complete ended otherwise."""


class WatchedFacts:
    """A fact store that tells when a run's end is written: the clock stops without asking for it."""

    def __init__(self, facts: FactStore) -> None:
        self._facts = facts
        self.ends: dict[str, asyncio.Future[None]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._facts, name)

    async def replace_header(self, stored: Stored, document: HeaderDocument) -> Stored:
        """Replace it, and tell who waits for a terminal status."""
        written = await self._facts.replace_header(stored, document)
        if document["status"] in TERMINAL_STATUSES:
            end = self.ends.pop(document["runId"], None)
            if end is not None and document["status"] == "completed":
                end.set_result(None)
            elif end is not None:
                end.set_exception(RunEndedError(f"a run {document['status']}: {document.get('message')}"))
        return written


class EngineContestant:
    """Runs laps with a worker of its own each."""

    def __init__(
        self,
        queue: JobQueue,
        facts: FactStore,
        coordination: Coordination,
        *,
        queue_name: str,
        worker: WorkerSettings | None = None,
        clear: Callable[[], None] = lambda: None,
        requests: Callable[[], Requests] = dict,
    ) -> None:
        clock = SystemClock()
        self._watched = WatchedFacts(facts)
        watched = cast("FactStore", self._watched)
        self._clear = clear
        self._requests = requests
        self._services = Services(
            queue_name=queue_name,
            queue=queue,
            facts=watched,
            coordination=coordination,
            clock=clock,
            random=random.Random(),  # noqa: S311 - jitter, no secret
            evaluator=ExpressionEvaluator(),
            catalog=app.options,
            worker_id="bench-worker",
            settings=worker or WorkerSettings(concurrency=CONCURRENCY),
        )
        self._client = Client(queue_name, queue, watched, coordination, clock)

    async def lap(self, load: Load) -> Lap:
        """Start the runs and work on them until the last has ended and its message is gone."""
        async with Worker(self._services) as worker:
            await self._all(worker, WARM_UP)
            self._clear()
            watch = Stopwatch()
            await self._all(worker, load)
            return watch.lap(load, self._requests())

    async def one(self, workflow: str, given: Any, nodes: int) -> Lap:
        """One run of a workflow with this input, which executes so many nodes."""
        async with Worker(self._services) as worker:
            await self._all(worker, WARM_UP)
            self._clear()
            watch = Stopwatch()
            await self._run(workflow, given)
            while worker.jobs:
                await asyncio.wait(worker.jobs)
            return replace(watch.lap(WARM_UP, self._requests()), nodes=nodes)

    async def _all(self, worker: Worker, load: Load) -> None:
        await keep_busy(load, lambda: self._run(load.workflow))
        while worker.jobs:
            await asyncio.wait(worker.jobs)

    async def _run(self, workflow: str, given: Any = RUN_INPUT) -> None:
        run_id = f"{workflow}-{random.getrandbits(64):016x}"
        end = self._watched.ends[run_id] = asyncio.get_running_loop().create_future()
        await self._client.start_workflow(workflow, given, run_id=run_id)
        await end


@asynccontextmanager
async def on_file(path: str) -> AsyncIterator[EngineContestant]:
    """The engine on a SQLite file."""
    async with open_embedded(path, "bench") as ports:
        yield EngineContestant(ports.queue, ports.facts, ports.coordination, queue_name="bench")

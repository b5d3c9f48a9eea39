"""One queue with its client and its workers, on the embedded backend and on the stand-ins for Azure."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from tests.emulators.stand_ins import StandIns

from flowcraft import NodeContext, NodeResult
from flowcraft.blueprint import Blueprint
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.implementation import Registry
from flowcraft.ports import Clock, Coordination, FactStore, JobQueue
from flowcraft.runtime import BlueprintCatalog, RuntimeOptions
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument
from flowcraft_azure import AzureSettings, open_azure, provision
from flowcraft_azure.settings import COSMOS_DATABASE

LIMIT_S = 30.0


class Ports(Protocol):
    """What a backend gives."""

    @property
    def queue(self) -> JobQueue: ...
    @property
    def facts(self) -> FactStore: ...
    @property
    def coordination(self) -> Coordination: ...


class Steps(Protocol):
    """Node code with one implementation."""

    async def step(self, ctx: NodeContext) -> NodeResult: ...


class Code:
    """Node code that notes what runs, with which idempotency key, and fails or waits when a test wants it."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.keys: dict[str, str] = {}
        self.inputs: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}
        self.reached: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.told: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """By node key: its execution was cancelled."""

    async def step(self, ctx: NodeContext) -> NodeResult:
        """The one implementation: ``params`` say action, output and context writes."""
        key = ctx.node_key
        self.ran.append(key)
        self.keys[key], self.inputs[key] = ctx.idempotency_key, ctx.input
        self.reached[key].set()
        try:
            if key in self.held:
                await self.held[key].wait()
        except asyncio.CancelledError:
            self.told[key].set()
            raise
        if key in self.broken:
            raise ValueError(f"{key} is broken")
        for name, text in ctx.params.get("appends", {}).items():
            await ctx.context.set(name, [*await ctx.context.get(name, []), text])
        return NodeResult(ctx.params.get("output", f"{key}!"), ctx.params.get("action"))

    @property
    def taken(self) -> list[str]:
        """What ran since the last look."""
        ran, self.ran = self.ran, []
        return ran


def flow(
    edges: str, /, name: str = "flow", version: str | None = None, **nodes: Mapping[str, Any]
) -> Blueprint:
    """A blueprint from edges like ``a>b b>c``; by node id, what differs from a plain step."""
    pairs = [tuple(text.split(">")) for text in edges.split()]
    ids = dict.fromkeys([*(node for pair in pairs for node in pair), *nodes])
    return Blueprint.from_dict(
        {
            "id": name,
            "nodes": [{"id": node, "uses": "step", **nodes.get(node, {})} for node in ids],
            "edges": [{"source": pair[0], "target": pair[1]} for pair in pairs if len(pair) > 1],
            "metadata": {"version": version} if version else {},
        }
    )


class Place:
    """A queue, and who works there; everything ends with the test."""

    def __init__(self, queue_name: str, ports: Ports, poison: Ports, stack: AsyncExitStack) -> None:
        self.queue_name = queue_name
        self.ports = ports
        self.poison = poison
        self.clock: Clock = SystemClock()
        self.workers: list[Worker] = []
        self._stack = stack

    @property
    def client(self) -> Client:
        return Client(
            self.queue_name, self.ports.queue, self.ports.facts, self.ports.coordination, self.clock
        )

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.client, "reconciler", stalled_threshold_s=0.0)

    async def worker(
        self, code: Steps, *blueprints: Blueprint, uses: Sequence[str] = ("step",), **settings: Any
    ) -> Worker:
        """A worker that polls; ``uses`` names what it implements."""
        quick = {"idle_min_s": 0.005, "idle_warm_s": 0.05, "unknown_delay_s": 0.05, "drain_s": 0.0}
        client = self.client
        services = Services(
            client.queue_name,
            client.queue,
            client.facts,
            client.coordination,
            client.clock,
            random.Random(),  # noqa: S311  jitter
            ExpressionEvaluator(),
            RuntimeOptions(BlueprintCatalog(blueprints), Registry(dict.fromkeys(uses, code.step)), {}),
            f"worker-{random.getrandbits(32):x}",
            settings=WorkerSettings(**{**quick, **settings}),
        )
        self.workers.append(await self._stack.enter_async_context(Worker(services)))
        return self.workers[-1]

    async def idle(self) -> None:
        """Return when no worker has anything in hand: what follows from an end is done too."""

        async def look() -> bool:
            return not any(worker.jobs for worker in self.workers)

        await self.until(look)

    async def until(self, look: Callable[[], Awaitable[Any]]) -> Any:
        """Wait until ``look`` gives something true."""
        async with asyncio.timeout(LIMIT_S):
            while not (seen := await look()):  # noqa: ASYNC110  the backends tell nobody
                await asyncio.sleep(0.01)
        return seen

    async def ended(self, run_id: str) -> HeaderDocument:
        """The header of a run at its end."""

        async def look() -> HeaderDocument | None:
            header = await self.client.header(run_id)
            return header if header["status"] in TERMINAL_STATUSES else None

        found: HeaderDocument = await self.until(look)
        return found

    async def status(self, run_id: str, *wanted: str) -> HeaderDocument:
        """The header of a run once it has one of these statuses."""

        async def look() -> HeaderDocument | None:
            header = await self.client.header(run_id)
            return header if header["status"] in wanted else None

        found: HeaderDocument = await self.until(look)
        return found


@asynccontextmanager
async def embedded() -> AsyncIterator[Place]:
    """On the embedded backend, in memory."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_embedded(":memory:", "orders"))
        yield Place("orders", backend, backend.for_queue("orders-poison"), stack)


@asynccontextmanager
async def azure(stand_ins: StandIns, name: str) -> AsyncIterator[Place]:
    """On Queue Storage, Cosmos DB and Redis, or their stand-ins."""
    # A database of its own: reconcilers look at runs without a queue, whoever wrote them.
    environment = {**os.environ, **stand_ins.environment, COSMOS_DATABASE: name}
    settings = AzureSettings.from_environment(environment, name)
    await provision(settings)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_azure(settings))
        yield Place(name, backend, backend.for_queue(f"{name}-poison"), stack)

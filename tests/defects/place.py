"""A backend of one test: its workers, which may die, its client, and what is stored in it."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from tests.azure.cuttable import Cuttable

from flowcraft import FlowRuntime, NodeContext, NodeResult
from flowcraft.distributed.client import Client
from flowcraft.distributed.message import Message
from flowcraft.distributed.reconciliation import Reconciler, ReconciliationStats
from flowcraft.distributed.services import WorkerSettings
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument
from flowcraft_azure import (
    AzureQueueAdapter,
    AzureSettings,
    RedisCoordinationStore,
    create_azure_reconciler,
)
from flowcraft_azure.connections import cosmos_client, queue_clients, redis_client

QUICK = WorkerSettings(
    visibility_timeout_s=2.0, idle_max_s=0.2, idle_warm_s=0.1, unknown_delay_s=0.3, drain_s=0.0
)
LIMIT_S = 30.0


class Code:
    """Node code that tells what it was asked, and does what the node's parameters say.

    ``step`` understands ``output``, ``action``, ``writes`` (context), ``fails`` (how often), ``gate`` (the
    name of an event to wait for), and ``cut`` (runs a callback before it returns).
    """

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.inputs: dict[str, Any] = {}
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.reached: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.calls: dict[str, Callable[[], Awaitable[None]]] = {}
        self.cancelled: list[str] = []
        self.registry: dict[str, Any] = {"step": self.step}

    async def step(self, ctx: NodeContext) -> NodeResult:
        """The one implementation."""
        params = ctx.params
        self.executed.append(ctx.node_key)
        self.inputs[ctx.node_key] = ctx.input
        self.reached[ctx.node_key].set()
        try:
            if "gate" in params:
                await self.gates[params["gate"]].wait()
        except asyncio.CancelledError:
            self.cancelled.append(ctx.node_key)
            raise
        if ctx.attempt <= params.get("fails", 0):
            raise ValueError(f"attempt {ctx.attempt} fails")
        for key, value in params.get("writes", {}).items():
            await ctx.context.set(key, value)
        if call := self.calls.get(ctx.node_key):
            await call()
        return NodeResult(output=params.get("output", f"{ctx.node_key}!"), action=params.get("action"))

    async def has_reached(self, key: str) -> None:
        """Wait until a node key executes."""
        await asyncio.wait_for(self.reached[key].wait(), LIMIT_S)


def flow(edges: str, blueprint_id: str = "flow", /, **nodes: Any) -> dict[str, Any]:
    """A blueprint: ``a>b a>c:action``, and by node id what differs from a plain step."""
    pairs = [re.fullmatch(r"(\w+)>(\w+)(?::(\w+))?", text) for text in edges.split() if ">" in text]
    ids = dict.fromkeys(re.findall(r"(?<!:)\b\w+", re.sub(r":\w+", "", edges)))
    return {
        "id": blueprint_id,
        "nodes": [{"id": name, "uses": "step", **nodes.get(name, {})} for name in {**ids, **nodes}],
        "edges": [
            {"source": found[1], "target": found[2], **({"action": found[3]} if found[3] else {})}
            for found in pairs
            if found
        ],
    }


class Place:
    """One queue, database and Redis, and who works there."""

    def __init__(self, settings: AzureSettings) -> None:
        self.settings = settings
        self.stack = AsyncExitStack()
        self.relays: dict[AzureQueueAdapter, dict[str, Cuttable]] = {}
        self.idle = self.adapter({}, Code())
        """Never started: its ports and its client."""

    @property
    def client(self) -> Client:
        """Starts and steers runs."""
        return self.idle.client

    def adapter(
        self,
        blueprint: Mapping[str, Any] | list[dict[str, Any]],
        code: Code,
        settings: WorkerSettings = QUICK,
        services: AzureSettings | None = None,
    ) -> AzureQueueAdapter:
        """A worker that is not started."""
        known = blueprint if isinstance(blueprint, list) else [dict(blueprint)] if blueprint else []
        services = services or self.settings
        queue, poison = queue_clients(services)
        cosmos, redis = cosmos_client(services), redis_client(services)
        for close in (redis.aclose, cosmos.close, poison.close, queue.close):
            self.stack.push_async_callback(close)
        return AzureQueueAdapter(
            runtime_options=FlowRuntime(blueprints=known, registry=code.registry).options,
            coordination_store=RedisCoordinationStore(redis),
            queue_client=queue,
            poison_queue_client=poison,
            cosmos_client=cosmos,
            cosmos_database_name=services.cosmos_database,
            context_container_name=services.cosmos_context_container,
            status_container_name=services.cosmos_status_container,
            settings=settings,
            worker_id=f"worker-{uuid.uuid4().hex[:6]}",
        )

    async def worker(
        self,
        blueprint: Mapping[str, Any] | list[dict[str, Any]],
        code: Code,
        settings: WorkerSettings = QUICK,
    ) -> AzureQueueAdapter:
        """A worker that polls; it ends with the test."""
        started = self.adapter(blueprint, code, settings)
        await started.start()
        self.stack.push_async_callback(started.stop)
        return started

    async def mortal(
        self, blueprint: Mapping[str, Any], code: Code, settings: WorkerSettings = QUICK
    ) -> AzureQueueAdapter:
        """A worker that reaches every service through a line that can be cut."""
        pairs = (part.split("=", 1) for part in self.settings.queue_connection_string.split(";") if part)
        ports = {
            "queue": urlsplit(dict(pairs)["QueueEndpoint"]).port or 0,
            "cosmos": urlsplit(self.settings.cosmos_endpoint).port or 0,
            "redis": urlsplit(self.settings.redis_url).port or 0,
        }
        relays = {name: await self.stack.enter_async_context(Cuttable(port)) for name, port in ports.items()}

        def moved(text: str, name: str) -> str:
            return text.replace(f":{ports[name]}", f":{relays[name].port}")

        through = dataclasses.replace(
            self.settings,
            queue_connection_string=moved(self.settings.queue_connection_string, "queue"),
            cosmos_endpoint=moved(self.settings.cosmos_endpoint, "cosmos"),
            redis_url=moved(self.settings.redis_url, "redis"),
        )
        started = self.adapter(blueprint, code, settings, through)
        self.relays[started] = relays
        await started.start()
        self.stack.push_async_callback(started.stop)
        return started

    async def kill(self, worker: AzureQueueAdapter) -> None:
        """What the services see of a worker that is killed: it is gone in the middle, and says nothing."""
        for relay in self.relays[worker].values():
            await relay.cut()
        await worker.stop()

    # ---- what a test does and sees ----

    async def start(self, blueprint_id: str = "flow", run_input: Any = None, **options: Any) -> str:
        """Start a run."""
        return await self.client.start_workflow(blueprint_id, run_input, **options)

    async def signal(self, run_id: str, node_key: str, **fields: Any) -> None:
        """Send a message as if it came a second time."""
        await self.idle.queue.send(Message(run_id, "flow", node_key, **fields).to_body())

    async def becomes(self, run_id: str, status: str) -> HeaderDocument:
        """Wait for a run's status; an end other than this one is told at once."""

        async def look() -> HeaderDocument | None:
            header = await self.client.header(run_id)
            if header["status"] in TERMINAL_STATUSES and header["status"] != status:
                raise AssertionError(f"the run {header['status']}: {header}")
            return header if header["status"] == status else None

        header: HeaderDocument = await until(look)
        return header

    async def statuses(self, run_id: str) -> dict[str, str]:
        """Status of each node record."""
        return {key: record.status for key, record in (await self.client.records(run_id)).items()}

    async def drained(self) -> None:
        """Wait until the queue holds no message, hidden ones included."""

        async def look() -> bool:
            return (await self.idle.queue.depth()).total == 0

        await until(look)

    async def reconcile(self, threshold_s: float = 0.0) -> ReconciliationStats:
        """One pass of a new reconciler that finds every run due."""
        return await self.reconciler(threshold_s).run()

    def reconciler(self, threshold_s: float = 0.0) -> Reconciler:
        """A reconciler of the queue."""
        return create_azure_reconciler(adapter=self.idle, stalled_threshold_seconds=threshold_s)

    async def redis_keys(self, pattern: str = "*") -> list[str]:
        """Names of the keys in Redis."""
        async with redis_client(self.settings) as redis:
            return [key.decode() async for key in redis.scan_iter(pattern)]

    async def forget(self, run_id: str) -> None:
        """What the expiry of all keys of a run leaves in Redis: nothing."""
        async with redis_client(self.settings) as redis:
            if keys := await self.redis_keys(f"fc:{{{run_id}}}:*"):
                await redis.delete(*keys)


async def until(look: Callable[[], Awaitable[Any]], within_s: float = LIMIT_S) -> Any:
    """Wait until something is seen."""
    async with asyncio.timeout(within_s):
        while not (seen := await look()):  # noqa: ASYNC110 - services tell nobody
            await asyncio.sleep(0.02)
    return seen

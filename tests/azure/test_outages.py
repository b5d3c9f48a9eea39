"""Services that are away at the start or midway: the cause is shown, and runs finish without a restart."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.azure.cuttable import Cuttable

from flowcraft import FlowRuntime, NodeContext
from flowcraft.distributed.services import WorkerSettings
from flowcraft.ports.errors import BackendUnavailableError
from flowcraft_azure import AzureQueueAdapter, AzureSettings, RedisCoordinationStore
from flowcraft_azure.connections import cosmos_client, queue_clients, redis_client

pytestmark = pytest.mark.emulators

ROW = {
    "id": "row",
    "nodes": [{"id": f"n{i}", "uses": "step"} for i in range(6)],
    "edges": [{"source": f"n{i}", "target": f"n{i + 1}"} for i in range(5)],
}


@dataclass
class Rig:
    """A worker whose services can be cut one by one."""

    adapter: AzureQueueAdapter
    relays: dict[str, Cuttable]
    reached: asyncio.Event
    """The third node runs, and waits for ``go_on``."""
    go_on: asyncio.Event

    async def status(self, run_id: str) -> str:
        return (await self.adapter.client.header(run_id))["status"]


async def until(look: Callable[[], Awaitable[bool]], within_s: float = 40.0) -> None:
    async with asyncio.timeout(within_s):
        while not await look():  # noqa: ASYNC110 - services tell nobody
            await asyncio.sleep(0.05)


@pytest.fixture
async def rig(settings: AzureSettings) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        pairs = (part.split("=", 1) for part in settings.queue_connection_string.split(";") if part)
        queue_url = urlsplit(dict(pairs)["QueueEndpoint"])
        ports = {
            "queue": queue_url.port,
            "cosmos": urlsplit(settings.cosmos_endpoint).port,
            "redis": urlsplit(settings.redis_url).port,
        }
        relays = {name: await stack.enter_async_context(Cuttable(port or 0)) for name, port in ports.items()}

        def moved(text: str, name: str) -> str:
            return text.replace(f":{ports[name]}", f":{relays[name].port}")

        through = dataclasses.replace(
            settings,
            queue_connection_string=moved(settings.queue_connection_string, "queue"),
            cosmos_endpoint=moved(settings.cosmos_endpoint, "cosmos"),
            redis_url=moved(settings.redis_url, "redis"),
        )
        queue, poison = queue_clients(through)
        cosmos, redis = cosmos_client(through), redis_client(through)
        for close in (redis.aclose, cosmos.close, poison.close, queue.close):
            stack.push_async_callback(close)
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def step(ctx: NodeContext) -> Any:
            if ctx.node_id == "n2":
                reached.set()
                await go_on.wait()
            return {"at": ctx.node_id}

        adapter = AzureQueueAdapter(
            runtime_options=FlowRuntime(blueprints=[ROW], registry={"step": step}).options,
            coordination_store=RedisCoordinationStore(redis),
            queue_client=queue,
            poison_queue_client=poison,
            cosmos_client=cosmos,
            cosmos_database_name=settings.cosmos_database,
            context_container_name=settings.cosmos_context_container,
            status_container_name=settings.cosmos_status_container,
            settings=WorkerSettings(visibility_timeout_s=3.0, idle_max_s=0.2, unknown_delay_s=0.5),
        )
        try:
            yield Rig(adapter, relays, reached, go_on)
        finally:
            go_on.set()
            await adapter.stop()


@pytest.mark.parametrize("service", ["queue", "cosmos", "redis"])
async def test_a_service_that_is_away_at_the_start_is_used_once_it_is_there(rig: Rig, service: str) -> None:
    rig.go_on.set()
    run_id = await rig.adapter.client.start_workflow("row", {})
    await rig.relays[service].cut()
    await rig.adapter.start()
    worker = rig.adapter.worker
    assert worker is not None
    if service == "queue":

        async def told() -> bool:
            return "Queue Storage" in worker.problem

        await until(told)
    if service == "cosmos":
        with pytest.raises(BackendUnavailableError, match="Cosmos DB"):
            await rig.adapter.client.header(run_id)
    await rig.relays[service].heal()

    async def completed() -> bool:
        return await rig.status(run_id) == "completed"

    await until(completed)


@pytest.mark.parametrize("service", ["queue", "cosmos", "redis"])
async def test_a_service_that_goes_away_midway_delays_a_run_and_loses_nothing(rig: Rig, service: str) -> None:
    await rig.adapter.start()
    run_id = await rig.adapter.client.start_workflow("row", {})
    await asyncio.wait_for(rig.reached.wait(), 20)
    await rig.relays[service].cut()
    rig.go_on.set()
    await asyncio.sleep(0.5)
    await rig.relays[service].heal()

    async def completed() -> bool:
        return await rig.status(run_id) == "completed"

    await until(completed)
    records = await rig.adapter.client.records(run_id)
    assert {key: record.status for key, record in records.items()} == {f"n{i}": "completed" for i in range(6)}

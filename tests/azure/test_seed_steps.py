"""The seed's own steps, in Python: its worker, and a client that writes items and messages by hand."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.cosmos.aio import CosmosClient
from azure.cosmos.partition_key import NonePartitionKeyValue
from azure.storage.queue.aio import QueueClient
from redis.asyncio import Redis
from tests.emulators.stand_ins import StandIns

from flowcraft import Blueprint, FlowRuntime, NodeContext, NodeResult, RuntimeOptions, analyze_blueprint
from flowcraft.distributed.services import WorkerSettings
from flowcraft_azure import (
    AzureQueueAdapter,
    AzureSettings,
    CosmosDbContext,
    RedisCoordinationStore,
    create_azure_reconciler,
)

pytestmark = pytest.mark.emulators

ORDER = {
    "id": "order",
    "nodes": [{"id": name, "uses": name} for name in ("charge", "ship", "refund")],
    "edges": [
        {"source": "charge", "target": "ship", "action": "approved"},
        {"source": "charge", "target": "refund", "action": "declined"},
    ],
}


@dataclass
class Shop:
    """Clients made as the seed's documentation makes them, and an adapter over them."""

    queue: QueueClient
    cosmos: CosmosClient
    redis: Redis
    settings: AzureSettings
    executed: list[str]
    gate: asyncio.Event
    """Charging waits for it."""

    def options(self) -> RuntimeOptions:
        """The worker's knowledge."""

        async def charge(ctx: NodeContext) -> NodeResult:
            self.executed.append("charge")
            await self.gate.wait()
            await ctx.context.set("paid", True)
            return NodeResult(output={"paid": ctx.input["amount"]}, action="approved")

        async def ship(ctx: NodeContext) -> Any:
            self.executed.append("ship")
            return {"shipped": ctx.input["paid"], "to": await ctx.context.get("to")}

        async def refund(ctx: NodeContext) -> Any:
            self.executed.append("refund")
            return {}

        registry = {"charge": charge, "ship": ship, "refund": refund}
        return FlowRuntime(blueprints={"order": ORDER}, registry=registry).options

    def adapter(self, **changes: Any) -> AzureQueueAdapter:
        """A worker, not started."""
        return AzureQueueAdapter(
            runtime_options=self.options(),
            coordination_store=RedisCoordinationStore(self.redis),
            queue_client=self.queue,
            cosmos_client=self.cosmos,
            cosmos_database_name=self.settings.cosmos_database,
            context_container_name=self.settings.cosmos_context_container,
            status_container_name=self.settings.cosmos_status_container,
            **changes,
        )

    async def start_by_hand(self, *, last_updated: object, with_run_id: bool, encoded: bool) -> str:
        """The seed's client, step by step."""
        run_id = str(uuid.uuid4())
        key = {"runId": run_id} if with_run_id else {}
        database = self.cosmos.get_database_client(self.settings.cosmos_database)
        contexts = database.get_container_client(self.settings.cosmos_context_container)
        statuses = database.get_container_client(self.settings.cosmos_status_container)
        await contexts.create_item({"id": run_id, "amount": 42, "to": "Ada", **key})
        await statuses.create_item({"id": run_id, "status": "running", "lastUpdated": last_updated, **key})
        for node_id in analyze_blueprint(Blueprint.from_dict(ORDER)).start_node_ids:
            text = json.dumps({"runId": run_id, "blueprintId": "order", "nodeId": node_id})
            await self.queue.send_message(base64.b64encode(text.encode()).decode() if encoded else text)
        return run_id

    async def status_item(self, run_id: str, *, with_run_id: bool) -> dict[str, Any]:
        """What the hand-written client reads."""
        database = self.cosmos.get_database_client(self.settings.cosmos_database)
        statuses = database.get_container_client(self.settings.cosmos_status_container)
        return await statuses.read_item(run_id, run_id if with_run_id else NonePartitionKeyValue)


async def until(look: Callable[[], Any], within_s: float = 20.0) -> Any:
    async with asyncio.timeout(within_s):
        while not (seen := await look()):  # noqa: ASYNC110 - services tell nobody
            await asyncio.sleep(0.02)
    return seen


@asynccontextmanager
async def open_shop(stand_ins: StandIns, settings: AzureSettings) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        storage = stand_ins.azure_storage_connection_string
        queue = QueueClient.from_connection_string(storage, settings.queue)
        cosmos = CosmosClient.from_connection_string(stand_ins.cosmos_connection_string)
        redis = Redis.from_url(stand_ins.redis_connection_string)
        for close in (redis.aclose, cosmos.close, queue.close):
            stack.push_async_callback(close)
        gate = asyncio.Event()
        gate.set()
        yield Shop(queue, cosmos, redis, settings, [], gate)


@pytest.fixture
async def shop(stand_ins: StandIns, settings: AzureSettings) -> AsyncIterator[Shop]:
    async with open_shop(stand_ins, settings) as opened:
        yield opened


def iso_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "base64"])
@pytest.mark.parametrize("with_run_id", [False, True], ids=["without-runId", "with-runId"])
@pytest.mark.parametrize(
    "last_updated",
    [iso_now, lambda: int(time.time()), lambda: int(time.time() * 1000)],
    ids=["iso", "seconds", "milliseconds"],
)
async def test_a_client_that_follows_the_steps_by_hand_gets_its_run_finished(
    shop: Shop, last_updated: Callable[[], object], with_run_id: bool, encoded: bool
) -> None:
    async with shop.adapter() as adapter:
        run_id = await shop.start_by_hand(
            last_updated=last_updated(), with_run_id=with_run_id, encoded=encoded
        )

        async def completed() -> bool:
            item = await shop.status_item(run_id, with_run_id=with_run_id)
            return bool(item["status"] == "completed")

        await until(completed)
        header = await adapter.client.header(run_id)
        assert header["output"] == {"ship": {"shipped": 42, "to": "Ada"}}
        assert header["queue"] == shop.settings.queue
        context = CosmosDbContext(
            run_id, client=shop.cosmos, cosmos_database_name=shop.settings.cosmos_database
        )
        assert await context.to_json() == {"amount": 42, "to": "Ada", "paid": True}
    assert shop.executed == ["charge", "ship"]


async def test_start_returns_and_wait_blocks_until_stop(shop: Shop) -> None:
    adapter = shop.adapter()
    await adapter.start()
    with pytest.raises(RuntimeError, match="started already"):
        await adapter.start()
    waiting = asyncio.create_task(adapter.wait())
    run_id = await adapter.client.start_workflow(
        "order", {"amount": 1, "to": "Bob"}, run_id=str(uuid.uuid4())
    )

    async def completed() -> bool:
        return (await adapter.client.header(run_id))["status"] == "completed"

    await until(completed)
    assert not waiting.done()
    await adapter.stop()
    await asyncio.wait_for(waiting, 5)
    await adapter.start()
    await adapter.stop()


async def test_the_reconciler_resumes_a_run_whose_worker_was_killed_and_runs_no_untaken_branch(
    shop: Shop, stand_ins: StandIns
) -> None:
    quick = WorkerSettings(visibility_timeout_s=3600.0, drain_s=0.0)
    shop.gate.clear()
    async with open_shop(stand_ins, shop.settings) as doomed:
        doomed.gate.clear()
        first = doomed.adapter(settings=quick, worker_id="doomed")
        await first.start()
        run_id = await shop.start_by_hand(last_updated=1, with_run_id=False, encoded=False)

        async def charging() -> list[str]:
            return doomed.executed

        await until(charging)
        # Killed: nothing is given back, its message stays hidden for an hour, its claims are lost with Redis.
        worker = first.worker
        assert worker is not None
        for task in (*worker._loops, *worker.jobs):
            task.cancel()
        await shop.queue.clear_messages()
        await shop.redis.flushdb()

        shop.gate.set()
        async with shop.adapter(settings=quick) as second:
            reconciler = create_azure_reconciler(
                adapter=second,
                cosmos_client=shop.cosmos,
                cosmos_database_name=shop.settings.cosmos_database,
                status_container_name=shop.settings.cosmos_status_container,
                stalled_threshold_seconds=0,
            )

            async def repaired() -> bool:
                stats = await reconciler.run()
                assert stats.failed_runs == 0
                return stats.stalled_runs >= 1 and stats.reconciled_runs >= 1

            await until(repaired)

            async def completed() -> bool:
                return (await second.client.header(run_id))["status"] == "completed"

            await until(completed)
        assert shop.executed == ["charge", "ship"]
        await first.stop()


async def test_a_reconciler_refuses_containers_that_are_not_the_adapters(shop: Shop) -> None:
    with pytest.raises(ValueError, match="status_container_name is 'elsewhere'"):
        create_azure_reconciler(adapter=shop.adapter(), status_container_name="elsewhere")

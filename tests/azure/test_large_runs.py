"""A run whose input, outputs and context are larger than what an item of Cosmos DB takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowcraft import App, NodeContext
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.ports.errors import BackendRefusedError
from flowcraft_azure import AzureBackend, AzureSettings, CosmosDbContext
from flowcraft_azure.connections import blob_client, cosmos_client

pytestmark = pytest.mark.emulators

PAGE = "x" * 1000
PAGES = 3000


def documents() -> App:
    """Three nodes that hand on 3 MB each."""
    app = App("documents")

    @app.node("read")
    async def read(ctx: NodeContext) -> Any:
        await ctx.context.set("scan", ctx.input["pages"])
        return [page + "!" for page in ctx.input["pages"]]

    @app.node("copy")
    async def copy(ctx: NodeContext) -> Any:
        return {"pages": ctx.input, "scan": len(await ctx.context.get("scan"))}

    @app.node("count")
    async def count(ctx: NodeContext) -> Any:
        pages = ctx.input["pages"]
        return {"pages": len(pages), "bytes": sum(map(len, pages)), "scan": ctx.input["scan"]}

    app.flow("scan").node("read").node("copy").node("count").edge("read", "copy").edge("copy", "count")
    return app


@pytest.fixture
async def client(backend: AzureBackend) -> AsyncIterator[Client]:
    services = Services(
        queue_name=backend.queue_name,
        queue=backend.queue,
        facts=backend.facts,
        coordination=backend.coordination,
        clock=backend.clock,
        random=random.Random(7),  # noqa: S311
        evaluator=ExpressionEvaluator(),
        catalog=documents().options,
        worker_id="worker",
        settings=WorkerSettings(idle_max_s=0.2),
    )
    worker = Worker(services)
    await worker.start()
    yield Client(backend.queue_name, backend.queue, backend.facts, backend.coordination, backend.clock)
    await worker.stop()


async def blobs(settings: AzureSettings, run_id: str) -> list[str]:
    async with blob_client(settings) as container:
        return [name async for name in container.list_blob_names(name_starts_with=f"{run_id}/")]


async def test_a_run_of_large_values_completes_and_its_values_go_with_it(
    client: Client, settings: AzureSettings, run_id: str
) -> None:
    await client.start_workflow("scan", {"pages": [PAGE] * PAGES}, run_id=run_id)
    async with asyncio.timeout(30):
        while (await client.header(run_id))["status"] != "completed":  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    header = await client.header(run_id)
    assert header["output"] == {"count": {"pages": PAGES, "bytes": PAGES * 1001, "scan": PAGES}}
    assert len(await blobs(settings, run_id)) == 4  # the input, what it was copied to in context, two outputs
    async with cosmos_client(settings) as cosmos, blob_client(settings) as container:
        names: dict[str, Any] = {"client": cosmos, "cosmos_database_name": settings.cosmos_database}
        context = CosmosDbContext(run_id, **names, value_container_client=container)
        assert await context.get("scan") == [PAGE] * PAGES
        assert (await context.to_json())["pages"] == [PAGE] * PAGES
        with pytest.raises(BackendRefusedError, match="value_container_client"):
            await CosmosDbContext(run_id, **names).get("scan")
    await client.facts.purge(run_id)
    assert await blobs(settings, run_id) == []

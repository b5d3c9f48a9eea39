"""The rights that docs/operations.md asks for are enough for a run's whole life."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.queue import AccountSasPermissions, ResourceTypes, Services, generate_account_sas
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError
from tests.defects.place import flow
from tests.emulators.stand_ins import STORAGE_ACCOUNT, STORAGE_KEY, StandIns

from flowcraft import FlowRuntime, NodeContext
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.distributed.services import Services as WorkerServices
from flowcraft.distributed.services import WorkerSettings
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft_azure import AzureBackend, AzureSettings, open_azure, provision

pytestmark = pytest.mark.emulators

REDIS_RIGHTS = "~fc:* &fc:ch:* -@all +@connection +@read +@write +@scripting +@pubsub -@dangerous"
"""What docs/operations.md says of Redis."""


def shared_access(settings: AzureSettings) -> str:
    """Messages, and what a queue knows of itself; no queue can be made or deleted."""
    parts = dict(part.split("=", 1) for part in settings.queue_connection_string.split(";") if part)
    signature = generate_account_sas(
        STORAGE_ACCOUNT,
        STORAGE_KEY,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, add=True, update=True, process=True),
        datetime.now(UTC) + timedelta(hours=1),
        services=Services(queue=True),
    )
    return f"QueueEndpoint={parts['QueueEndpoint']};SharedAccessSignature={signature}"


@pytest.fixture
async def limited(stand_ins: StandIns, unique_name: str) -> AsyncIterator[AzureSettings]:
    """Settings of a provisioned backend, with rights to the data only."""
    environment = {**os.environ, **stand_ins.environment, "FLOWCRAFT_COSMOS_DATABASE": unique_name}
    settings = AzureSettings.from_environment(environment, unique_name)
    await provision(settings)
    async with Redis.from_url(settings.redis_url) as redis:
        rights = ("on", ">worker", "resetkeys", "resetchannels", *REDIS_RIGHTS.split())
        await _command(redis, "ACL", "SETUSER", unique_name, *rights)
        yield dataclasses.replace(
            settings,
            queue_connection_string=shared_access(settings),
            blob_connection_string="",
            redis_url=settings.redis_url.replace("://", f"://{unique_name}:worker@"),
        )
        await _command(redis, "ACL", "DELUSER", unique_name)


async def test_a_run_needs_no_other_rights_from_its_start_to_its_purge(limited: AzureSettings) -> None:
    async def step(ctx: NodeContext) -> Any:
        await ctx.context.set(ctx.node_key, 1)
        return ctx.node_key

    edges = "a>b a>c b>d c>d d>w w>s s>e"
    nap = {"uses": "sleep", "params": {"duration": "1s"}}
    blueprint = flow(edges, w={"uses": "wait"}, s=nap)
    options = FlowRuntime(blueprints=[blueprint], registry={"step": step}).options
    async with open_azure(limited) as backend:
        client = Client(backend.queue_name, backend.queue, backend.facts, backend.coordination, backend.clock)
        async with Worker(_services(backend, options)):
            await backend.queue.send("no message")
            run_id = await client.start_workflow("flow", {"x": 1}, ttl_after_finished_s=0)
            await _until(client, run_id, "awaiting")
            await client.decide(run_id, "w", output="yes")
            await _until(client, run_id, "completed")
        reconciler = Reconciler(client, "reconciler", stalled_threshold_s=0.0)
        assert (await reconciler.run()).purged_runs == 1
        assert await backend.facts.read_header(run_id) is None
        assert (await backend.queue.depth()).total == 0


async def test_these_rights_make_and_delete_no_queue_and_read_no_other_key(limited: AzureSettings) -> None:
    async with open_azure(limited) as backend, Redis.from_url(limited.redis_url) as redis:
        for forbidden in (backend.queue._client.delete_queue, backend.queue._client.create_queue):
            with pytest.raises(HttpResponseError, match="not authorized"):
                await forbidden()
        for command in (("GET", "another"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*")):
            with pytest.raises(NoPermissionError):
                await _command(redis, *command)


async def _command(redis: Redis, *words: str) -> Any:
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


async def _until(client: Client, run_id: str, status: str) -> None:
    async with asyncio.timeout(30):
        while (header := await client.header(run_id))["status"] != status:
            assert header["status"] != "failed", header
            await asyncio.sleep(0.02)


def _services(backend: AzureBackend, options: Any) -> WorkerServices:
    return WorkerServices(
        queue_name=backend.queue_name,
        queue=backend.queue,
        facts=backend.facts,
        coordination=backend.coordination,
        clock=backend.clock,
        random=backend._random,
        evaluator=ExpressionEvaluator(),
        catalog=options,
        worker_id="worker",
        settings=WorkerSettings(idle_max_s=0.2, drain_s=0.0),
    )

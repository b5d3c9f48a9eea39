"""Chaos on real servers: three workers, Azurite, the Cosmos DB stand-in and Valkey, in bad weather."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from tests.azure.cuttable import Cuttable
from tests.chaos.audit import Audit, Findings, oracle
from tests.chaos.drive import Drive, drawn, through
from tests.chaos.fleet import ENVIRONMENT, QUEUE, WORKERS, Fleet, fresh
from tests.chaos.programs import LOG_VARIABLE
from tests.chaos.servers import Servers
from tests.chaos.storm import Lines, ServerStorm
from tests.chaos.weather import Proxy
from tests.emulators.stand_ins import COSMOS_KEY

from flowcraft.distributed.client import Client
from flowcraft_azure import AzureBackend, AzureSettings, CosmosDbContext, open_azure, provision
from flowcraft_azure.connections import cosmos_client


async def chaos(
    count: int, seed: int, say: Callable[[str], None], logs: Path | None = None
) -> tuple[Findings, Counter[str]]:
    """So many runs through the storm of a seed; what the audit found, and the faults that were injected."""
    rng = random.Random(seed)  # noqa: S311 - a test
    counts: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        servers = Servers()
        stack.callback(servers.stop)
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = fresh(folder)
        lines, environment = await _lines(stack, servers, rng, counts)
        settings = AzureSettings.from_environment(servers.connections.environment, QUEUE)
        await provision(settings)
        clear = await stack.enter_async_context(open_azure(settings))
        reached = await stack.enter_async_context(
            open_azure(AzureSettings.from_environment({**os.environ, **environment}, QUEUE))
        )
        fleet = Fleet(WORKERS, {**ENVIRONMENT, **environment, LOG_VARIABLE: str(log)}, folder)
        await stack.enter_async_context(fleet)
        pace = random.Random(seed)  # noqa: S311 - a test
        drive = Drive(drawn(rng, count), pace, _client(reached), _client(clear), say)
        storm = ServerStorm(rng, fleet, servers, lines, counts)
        expected = await oracle()
        await through(drive, storm, say)
        audit = Audit(_client(clear), expected, _contexts(settings, stack))
        await audit.open_runs(QUEUE, within_s=30.0)
        await _leftovers(audit.findings, clear, servers)
        await drive.close()
        audit.findings.surprises += drive.surprises
        await audit.runs(drive.accepted)
        audit.executions(log)
        counts["calls of people asked again"] = drive.asked_again
        counts["worker processes started"] = fleet.started
        return audit.findings, counts


async def _lines(
    stack: AsyncExitStack, servers: Servers, rng: random.Random, counts: Counter[str]
) -> tuple[Lines, dict[str, str]]:
    """What lies between workers and servers, and the connection strings that lead through it."""
    given = servers.connections
    storage = dict(part.split("=", 1) for part in given.azure_storage_connection_string.split(";") if part)
    proxies: dict[str, Proxy] = {}
    for name, key in (("queue", "QueueEndpoint"), ("blob", "BlobEndpoint")):
        if key in storage:
            url = urlsplit(storage[key])
            proxies[name] = await stack.enter_async_context(Proxy(name, url.port or 0, rng, counts))
            storage[key] = f"http://127.0.0.1:{proxies[name].port}{url.path}"
    cosmos_port = urlsplit(given.cosmos_connection_string.split(";")[0].split("=", 1)[1]).port or 0
    proxies["cosmos"] = await stack.enter_async_context(Proxy("cosmos", cosmos_port, rng, counts))
    line = await stack.enter_async_context(Cuttable(urlsplit(given.redis_connection_string).port or 0))
    return Lines(proxies, line), {
        "AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{name}={value}" for name, value in storage.items()),
        "COSMOS_DB_CONNECTION_STRING": (
            f"AccountEndpoint=http://127.0.0.1:{proxies['cosmos'].port}/;AccountKey={COSMOS_KEY};"
        ),
        "REDIS_CONNECTION_STRING": f"redis://127.0.0.1:{line.port}/0",
    }  # fmt: skip


def _client(backend: AzureBackend) -> Client:
    return Client(backend.queue_name, backend.queue, backend.facts, backend.coordination, backend.clock)


def _contexts(settings: AzureSettings, stack: AsyncExitStack) -> Any:
    client = cosmos_client(settings)
    stack.push_async_callback(client.close)

    async def context_of(run_id: str, _keys: Sequence[str]) -> Mapping[str, Any]:
        context = CosmosDbContext(run_id, client=client, cosmos_database_name=settings.cosmos_database)
        return await context.to_json()

    return context_of


async def _leftovers(findings: Findings, backend: AzureBackend, servers: Servers) -> None:
    """Messages and claims that are still there after the longest time that one may be hidden or leased."""
    for _ in range(200):
        findings.messages_left = (await backend.queue.depth()).total
        findings.claims_left = await _claims(servers)
        if not findings.messages_left and not findings.claims_left:
            break
        await asyncio.sleep(0.3)
    findings.poison = await _poisoned(backend)


async def _claims(servers: Servers) -> int:
    async with Redis.from_url(servers.connections.redis_connection_string) as redis:
        keys = [key async for key in redis.scan_iter("fc:*:c:*", count=1000)]
        values = await redis.mget(keys) if keys else []
        return sum(value is not None and value != b"d" for value in values)


async def _poisoned(backend: AzureBackend) -> int:
    properties = await backend.queue._poison.get_queue_properties()
    return int(properties.approximate_message_count or 0)

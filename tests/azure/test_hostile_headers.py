"""Headers that nobody of ours wrote: they keep no other run of the queue from being repaired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from flowcraft.distributed.client import Client
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.ports import Delivery
from flowcraft_azure import AzureBackend, AzureSettings
from flowcraft_azure.connections import cosmos_client

pytestmark = pytest.mark.emulators

LONG_AGO = "2020-01-01T00:00:00Z"
HEADERS: tuple[Mapping[str, Any], ...] = (
    {},
    {"blueprintId": 7},
    {"blueprintId": "order", "blueprint": {"nodes": "none"}, "blueprintHash": "x"},
    {"blueprintId": "order", "blueprint": {"id": "order", "nodes": [{}], "edges": [7]}, "blueprintHash": "x"},
    {"blueprintId": "order", "blueprintRef": "b:nowhere", "blueprintHash": "x"},
    {"blueprintId": "order", "blueprintVersion": {"a": 1}},
    {"blueprintId": "order", "progress": "half", "awaiting": 7, "repairs": [], "input": 7},
    {"blueprintId": "order", "nextCheck": 7, "deadlineAt": {"a": 1}, "createdAt": 1e308},
    {"blueprintId": "order", "lastUpdated": 1e308},
    {"blueprintId": "order", "lastUpdated": {"at": 1}},
    {"blueprintId": "order", "parent": "nobody", "queue": None},
    {"blueprintId": "order", "ttlAfterFinishedS": "long", "errors": {}},
    {"status": "completed", "expiresAt": LONG_AGO, "subflows": 3, "awaiting": "x"},
)


async def test_headers_of_others_keep_no_run_from_being_repaired(
    settings: AzureSettings, backend: AzureBackend
) -> None:
    client = Client(backend.queue_name, backend.queue, backend.facts, backend.coordination, backend.clock)
    await client.start(RunRequest("good", "order", input={}))
    for delivery in await backend.queue.receive(32, 30.0):
        await backend.queue.delete(delivery)
    async with cosmos_client(settings) as cosmos:
        database = cosmos.get_database_client(settings.cosmos_database)
        statuses = database.get_container_client("statuses")
        for number, header in enumerate(HEADERS):
            base = {"id": f"odd-{number}", "status": "running", "lastUpdated": LONG_AGO}
            await statuses.create_item({**base, **header})
            base = {"id": f"own-{number}", "runId": f"own-{number}", "queue": backend.queue_name}
            await statuses.create_item({"status": "running", "lastUpdated": LONG_AGO, **base, **header})
    assert (await Reconciler(client, "reconciler", stalled_threshold_s=0.0).run()).reconciled_runs
    sent = [delivery.body async for delivery in everything(backend)]
    assert any('"good"' in body for body in sent)


async def everything(backend: AzureBackend) -> AsyncIterator[Delivery]:
    """All messages of the queue."""
    while deliveries := await backend.queue.receive(32, 60.0):
        for delivery in deliveries:
            yield delivery

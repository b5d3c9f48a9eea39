"""Runs that the original loses or fails before their first node."""

from __future__ import annotations

import uuid

import pytest
from azure.cosmos.aio import CosmosClient
from tests.defects.place import Code, Place, flow, until

from flowcraft.distributed.message import Message
from flowcraft_azure import AzureQueueAdapter
from flowcraft_azure.connections import cosmos_client

pytestmark = pytest.mark.emulators


def versioned(version: str) -> dict[str, object]:
    return {**flow("a>b"), "metadata": {"version": version}}


async def handled(adapter: AzureQueueAdapter) -> None:
    """Wait until a worker has done something about a message."""

    async def look() -> bool:
        return adapter.worker is not None and adapter.worker.handled > 0

    await until(look)


async def test_a_run_whose_header_names_no_version_is_not_lost(place: Place, code: Code) -> None:
    await place.worker(flow("a>b"), code)
    run_id = str(uuid.uuid4())
    client: CosmosClient
    async with cosmos_client(place.settings) as client:
        database = client.get_database_client(place.settings.cosmos_database)
        container = database.get_container_client(place.settings.cosmos_status_container)
        await container.create_item({"id": run_id, "runId": run_id, "status": "running"})
    await place.idle.queue.send(Message(run_id, "flow", "a").to_body())
    await place.becomes(run_id, "completed")
    assert code.executed == ["a", "b"]


async def test_a_run_of_a_newer_version_waits_for_a_worker_that_has_it(place: Place, code: Code) -> None:
    old = await place.worker(versioned("1"), Code())
    run_id = await place.start(version="2")
    await handled(old)
    header = await place.client.header(run_id)
    assert header["status"] == "running"
    assert "version 2" in str(header.get("message"))
    await place.worker(versioned("2"), code)
    header = await place.becomes(run_id, "completed")
    assert header["blueprintVersion"] == "2"
    assert code.executed == ["a", "b"]


async def test_a_run_of_a_blueprint_that_one_worker_does_not_know_is_not_failed(
    place: Place, code: Code
) -> None:
    stranger = await place.worker(flow("x>y", "other"), Code())
    run_id = await place.start()
    await handled(stranger)
    assert (await place.client.header(run_id))["status"] == "running"
    await place.worker(flow("a>b"), code)
    await place.becomes(run_id, "completed")


async def test_starting_cancelling_pausing_deadlines_poison_and_retention_need_no_hand_work(
    place: Place, code: Code
) -> None:
    await place.worker(flow("a>b", b={"params": {"gate": "b"}}), code)
    cancelled, late, kept = [str(uuid.uuid4()) for _ in range(3)]
    for run_id, deadline_s in ((cancelled, None), (late, 0.5), (kept, None)):
        assert await place.start(run_id=run_id, deadline_s=deadline_s) == run_id
        assert await place.start(run_id=run_id, deadline_s=deadline_s) == run_id  # twice is once
    paused = await place.start(suspended=True, ttl_after_finished_s=0)
    await place.client.cancel(cancelled)
    assert (await place.becomes(late, "failed"))["reason"] == "DeadlineExceeded"
    await place.becomes(cancelled, "cancelled")
    assert (await place.client.header(paused))["status"] == "paused"
    await place.client.resume(paused)
    code.gates["b"].set()
    await place.becomes(kept, "completed")
    await place.becomes(paused, "completed")
    await place.drained()
    assert (await place.reconcile()).purged_runs == 1
    assert await place.idle.facts.read_header(paused) is None
    assert await place.client.header(kept)

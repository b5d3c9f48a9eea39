"""Provisioning: what is made, found, different, or refused."""

from __future__ import annotations

import dataclasses

import pytest
from azure.cosmos import PartitionKey
from tests.azure.scripted_service import Reply, ScriptedService

from flowcraft.ports.errors import BackendRefusedError, BackendUnavailableError
from flowcraft_azure import AzureSettings, open_azure, provision
from flowcraft_azure.connections import cosmos_client
from flowcraft_azure.provision import Outcome, indexing_policy

pytestmark = pytest.mark.emulators


async def test_everything_is_made_once_and_found_again(unprovisioned: AzureSettings) -> None:
    first = await provision(unprovisioned)
    shared = {"account", "values"}  # one of each for all tests
    made = {(part.kind, part.name): part.outcome for part in first if part.kind not in shared}
    queue, database = unprovisioned.queue, unprovisioned.cosmos_database
    assert made == {
        ("queue", queue): Outcome.CREATED,
        ("queue", f"{queue}-poison"): Outcome.CREATED,
        ("database", database): Outcome.CREATED,
        ("container", "statuses"): Outcome.CREATED,
        ("container", "contexts"): Outcome.CREATED,
    }
    assert {part.outcome for part in await provision(unprovisioned)} == {Outcome.EXISTS}


async def test_containers_are_made_as_they_are_needed(settings: AzureSettings) -> None:
    async with cosmos_client(settings) as client:
        database = client.get_database_client(settings.cosmos_database)
        for kind, name in (("status", "statuses"), ("context", "contexts")):
            properties = await database.get_container_client(name).read()
            assert properties["partitionKey"]["paths"] == ["/runId"]
            assert properties.get("defaultTtl") is None
            policy = properties["indexingPolicy"]
            assert policy["includedPaths"] == indexing_policy(kind)["includedPaths"]
            assert {"path": "/*"} in policy["excludedPaths"]


async def test_a_container_with_another_partition_key_is_told(unprovisioned: AzureSettings) -> None:
    async with cosmos_client(unprovisioned) as client:
        database = await client.create_database(unprovisioned.cosmos_database)
        await database.create_container("contexts", PartitionKey("/id"))
    parts = {part.name: part for part in await provision(unprovisioned)}
    assert parts["contexts"].outcome is Outcome.DIFFERS
    assert "the partition key is /id, not /runId" in parts["contexts"].detail
    assert not parts["contexts"].usable
    assert parts["statuses"].outcome is Outcome.CREATED


async def test_a_worker_refuses_a_container_in_which_it_would_not_find_what_it_writes(
    unprovisioned: AzureSettings,
) -> None:
    async with cosmos_client(unprovisioned) as client:
        database = await client.create_database(unprovisioned.cosmos_database)
        await database.create_container("contexts", PartitionKey("/id"))
    await provision(unprovisioned)
    async with open_azure(unprovisioned) as backend:
        with pytest.raises(
            BackendRefusedError, match=r"container contexts .* partition key is /id, not /runId"
        ):
            await backend.facts.load("r", nodes=["a"])


async def test_what_is_being_deleted_is_not_there(
    unprovisioned: AzureSettings, service: ScriptedService
) -> None:
    service.answer("GET", f"/{unprovisioned.queue}", Reply(404))
    service.answer("PUT", "/", Reply(409, headers={"x-ms-error-code": "QueueBeingDeleted"}))
    key = "AccountName=shop;AccountKey=c2VjcmV0"
    storage = f"{key};QueueEndpoint={service.url}shop"
    settings = dataclasses.replace(unprovisioned, queue_connection_string=storage, blob_connection_string="")
    parts = {(part.kind, part.name): part for part in await provision(settings)}
    queue = parts["queue", unprovisioned.queue]
    assert queue.outcome is Outcome.LACKS
    assert "try again" in queue.detail


def at(settings: AzureSettings, service: ScriptedService) -> AzureSettings:
    return dataclasses.replace(settings, cosmos_endpoint=service.url)


@pytest.mark.parametrize("status", [401, 403])
async def test_what_may_not_be_made_is_told_with_the_command_that_makes_it(
    unprovisioned: AzureSettings, service: ScriptedService, status: int
) -> None:
    service.answer("GET", "/dbs/", Reply(404))
    service.answer("POST", "/dbs", Reply(status))
    parts = {part.name: part for part in await provision(at(unprovisioned, service))}
    database = parts[unprovisioned.cosmos_database]
    assert database.outcome is Outcome.LACKS
    assert f"az cosmosdb sql database create --name {unprovisioned.cosmos_database}" in database.command
    for name in ("statuses", "contexts"):
        assert parts[name].outcome is Outcome.LACKS
        assert f"az cosmosdb sql container create --name {name}" in parts[name].command
        assert "--partition-key-path /runId" in parts[name].command


async def test_an_account_with_weak_consistency_is_told(
    unprovisioned: AzureSettings, service: ScriptedService
) -> None:
    account = {"userConsistencyPolicy": {"defaultConsistencyLevel": "Eventual"}}
    service.answer("GET", "/", Reply(body=account))
    service.answer("GET", "/dbs/", Reply(body={"partitionKey": {"paths": ["/runId"]}}))
    (found,) = [part for part in await provision(at(unprovisioned, service)) if part.kind == "account"]
    assert found.outcome is Outcome.DIFFERS
    assert "Eventual" in found.detail
    assert "--default-consistency-level Session" in found.command


@pytest.mark.parametrize(("status", "expected"), [(503, BackendUnavailableError), (401, BackendRefusedError)])
async def test_an_account_that_refuses_everything_is_an_error(
    unprovisioned: AzureSettings, service: ScriptedService, status: int, expected: type[Exception]
) -> None:
    service.answer("GET", "/", Reply(status))
    with pytest.raises(expected, match="account"):
        await provision(at(unprovisioned, service))


async def test_a_worker_makes_nothing_by_itself(unprovisioned: AzureSettings) -> None:
    async with open_azure(unprovisioned) as backend:
        for work in (
            backend.queue.receive(1, 30.0),
            backend.queue.send("{}"),
            backend.queue.send_poison("{}"),
        ):
            with pytest.raises(
                BackendRefusedError, match=r"not exist; `flowcraft provision --queue [^`]*(?<!-poison)`"
            ):
                await work

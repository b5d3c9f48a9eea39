"""Queues, blob container, database and containers: created where they lack, or told exactly what lacks.

Everything can be done again. What exists is left as it is; where it differs from what is needed, the report
says how. Nothing here is done by a worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient, DatabaseProxy
from azure.storage.blob.aio import ContainerClient
from azure.storage.queue.aio import QueueClient

from flowcraft_azure.connections import blob_client, cosmos_client, credential, queue_clients
from flowcraft_azure.containers import PARTITION_PATH, SERVICE
from flowcraft_azure.faults import Faults
from flowcraft_azure.settings import AzureSettings
from flowcraft_azure.values import SERVICE as SERVICE_OF_VALUES

INDEXED: Final[Mapping[str, Sequence[str]]] = {
    "status": (
        "/queue/?",
        "/status/?",
        "/lastUpdated/?",
        "/nextCheck/?",
        "/expiresAt/?",
        "/type/?",
        "/adoptedAt/?",
    ),
    "context": ("/type/?", "/status/?"),
}
"""What queries ask for (``queries.py``); the id and the time of the last write are always indexed."""
_READS_IN_SESSION: Final = frozenset({"Session", "BoundedStaleness", "Strong"})


class Outcome(Enum):
    """What became of one part."""

    EXISTS = "exists"
    CREATED = "created"
    DIFFERS = "differs"
    """It exists, but not as it is needed; the detail says how."""
    LACKS = "lacks"
    """It does not exist and could not be created; the detail says why, the command creates it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the backend as it is after provisioning.

    Attributes:
        kind: ``queue``, ``values`` (the blob container), ``account``, ``database`` or ``container``.
        name: Its name.
        outcome: What became of it.
        detail: What differs, or why it lacks.
        command: The az command that creates it, where it lacks.
    """

    kind: str
    name: str
    outcome: Outcome
    detail: str = ""
    command: str = ""

    @property
    def usable(self) -> bool:
        """Whether workers can go on with it."""
        return self.outcome in {Outcome.EXISTS, Outcome.CREATED}


def indexing_policy(container: str) -> dict[str, Any]:
    """The policy of the ``status`` or ``context`` container: only what is queried costs request units."""
    return {
        "indexingMode": "consistent",
        "automatic": True,
        "includedPaths": [{"path": path} for path in INDEXED[container]],
        "excludedPaths": [{"path": "/*"}],
    }


async def provision(settings: AzureSettings) -> list[Part]:
    """Create what lacks, and report every part.

    Raises:
        BackendUnavailableError: a service cannot be reached.
        BackendRefusedError: it refuses the credentials altogether.
    """
    identity = credential(settings) if settings.needs_identity else None
    queue, poison = queue_clients(settings, identity)
    values = blob_client(settings, identity) if settings.has_blobs else None
    cosmos = cosmos_client(settings, identity)
    try:
        parts = [await _queue(client) for client in (queue, poison)]
        if values is not None:
            parts.append(await _values(values))
        return parts + await _cosmos(cosmos, settings)
    finally:
        for client in (queue, poison, values, cosmos, identity):
            if client is not None:
                await client.close()


async def _queue(client: QueueClient) -> Part:
    name, account = str(client.queue_name), str(client.account_name)
    command = f"az storage queue create --name {name} --account-name {account} --auth-mode login"

    async def exists() -> bool:
        await client.get_queue_properties()
        return True

    return await _part("queue", name, "Queue Storage", exists, client.create_queue, command)


async def _values(client: ContainerClient) -> Part:
    name, account = str(client.container_name), str(client.account_name)
    command = f"az storage container create --name {name} --account-name {account} --auth-mode login"
    return await _part(
        "values", name, SERVICE_OF_VALUES, client.get_container_properties, client.create_container, command
    )


async def _part(  # noqa: PLR0917 - one flat story for four kinds
    kind: str,
    name: str,
    service: str,
    exists: Callable[[], Awaitable[object]],
    create: Callable[[], Awaitable[object]],
    command: str,
) -> Part:
    with Faults(service, f"{kind} {name}"):
        try:
            await exists()
        except HttpResponseError as error:
            if error.status_code != 404:
                raise
        else:
            return Part(kind, name, Outcome.EXISTS)
        try:
            await create()
        except HttpResponseError as error:
            if _code(error).endswith("BeingDeleted"):
                detail = "it was deleted just now, which takes the service a while: try again in a minute"
                return Part(kind, name, Outcome.LACKS, detail, command)
            if error.status_code == 409:  # somebody else created it just now
                return Part(kind, name, Outcome.EXISTS)
            if error.status_code in {401, 403}:
                return Part(kind, name, Outcome.LACKS, "this identity may not create it", command)
            raise
    return Part(kind, name, Outcome.CREATED)


def _code(error: HttpResponseError) -> str:
    """The storage service's own word for an error."""
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


async def _cosmos(client: CosmosClient, settings: AzureSettings) -> list[Part]:
    account = (urlsplit(settings.cosmos_endpoint).hostname or "").split(".")[0]
    group = f"--account-name {account} --resource-group <resource group>"
    with Faults(SERVICE, f"account {settings.cosmos_endpoint}"):
        await client.__aenter__()
    database = client.get_database_client(settings.cosmos_database)
    parts = [
        await _consistency(client, account),
        await _part(
            "database",
            settings.cosmos_database,
            SERVICE,
            database.read,
            lambda: client.create_database(settings.cosmos_database),
            f"az cosmosdb sql database create --name {settings.cosmos_database} {group}",
        ),
    ]
    for kind, name in (
        ("status", settings.cosmos_status_container),
        ("context", settings.cosmos_context_container),
    ):
        command = (
            f"az cosmosdb sql container create --name {name} --database-name {settings.cosmos_database} "
            f"--partition-key-path {PARTITION_PATH} {group}"
        )
        if not parts[1].usable:
            parts.append(Part("container", name, Outcome.LACKS, "its database lacks", command))
            continue
        parts.append(await _container(database, kind, name, command))
    return parts


async def _container(database: DatabaseProxy, kind: str, name: str, command: str) -> Part:
    client = database.get_container_client(name)
    part = await _part(
        "container",
        name,
        SERVICE,
        client.read,
        lambda: database.create_container(
            name, PartitionKey(PARTITION_PATH), indexing_policy=indexing_policy(kind)
        ),
        command,
    )
    if part.outcome is not Outcome.EXISTS:
        return part
    detail = "; ".join(differences(await client.read(), kind))
    return Part("container", name, Outcome.DIFFERS, detail) if detail else part


def differences(properties: Mapping[str, Any], kind: str) -> list[str]:
    """What keeps an existing container from being as it is needed."""
    found = []
    paths = properties.get("partitionKey", {}).get("paths", [])
    if paths != [PARTITION_PATH]:
        found.append(
            f"the partition key is {', '.join(paths) or 'missing'}, not {PARTITION_PATH}: create it anew"
        )
    if properties.get("defaultTtl") is not None:
        found.append("time to live is on, which can delete facts of long runs: switch it off")
    policy = properties.get("indexingPolicy") or {}
    if policy.get("indexingMode", "consistent").lower() != "consistent":
        found.append("indexing is not consistent: queries would miss runs")
    included = {entry["path"] for entry in policy.get("includedPaths", ())}
    lacking = [path for path in INDEXED[kind] if path not in included]
    if included and "/*" not in included and lacking:
        found.append(f"queried paths are not indexed: {', '.join(lacking)}")
    return found


async def _consistency(client: CosmosClient, account: str) -> Part:
    with Faults(SERVICE, f"account {account}"):
        policy = (await client._get_database_account()).ConsistencyPolicy or {}  # noqa: SLF001 - no public way
    level = policy.get("defaultConsistencyLevel", "")
    if not level or level in _READS_IN_SESSION:
        return Part("account", account, Outcome.EXISTS)
    return Part(
        "account",
        account,
        Outcome.DIFFERS,
        f"its consistency is {level}: set it to Session or stronger, or reads miss what was just written",
        f"az cosmosdb update --name {account} --resource-group <resource group> "
        "--default-consistency-level Session",
    )

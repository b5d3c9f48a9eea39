"""Clients of the three services, set up for one process that lives long and works much."""

from __future__ import annotations

from typing import Any, Final

from azure.core.credentials_async import AsyncTokenCredential
from azure.cosmos.aio import CosmosClient
from azure.storage.blob.aio import ContainerClient
from azure.storage.queue.aio import QueueClient
from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from flowcraft_azure.count import (
    BLOB,
    COSMOS,
    QUEUE,
    RequestCounter,
)
from flowcraft_azure.redis_connection import lean
from flowcraft_azure.settings import POISON_SUFFIX, AzureSettings, AzureSettingsError, is_emulator
from flowcraft_azure.transport import Transport

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 20.0
REDIS_TIMEOUT_S: Final = 3.0
REDIS_CONNECTIONS: Final = 256
THROTTLE_RETRIES: Final = 2
THROTTLE_WAIT_S: Final = 3
"""What the SDK retries by itself on 429; beyond it the engine waits."""


def credential(settings: AzureSettings) -> AsyncTokenCredential:
    """The identity of the process: workload identity, managed identity, environment, az command line."""
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 - 0.3 s that few processes need

    if settings.identity_client_id:
        return DefaultAzureCredential(
            managed_identity_client_id=settings.identity_client_id,
            workload_identity_client_id=settings.identity_client_id,
        )
    return DefaultAzureCredential()


def queue_clients(
    settings: AzureSettings,
    identity: AsyncTokenCredential | None = None,
    counter: RequestCounter | None = None,
) -> tuple[QueueClient, QueueClient]:
    """Clients of the queue and of its poison queue.

    Raises:
        AzureSettingsError: the connection string cannot be used.
    """

    def client(name: str) -> QueueClient:
        options = _storage_options(QUEUE, counter)
        if settings.queue_connection_string:
            try:
                return QueueClient.from_connection_string(settings.queue_connection_string, name, **options)
            except ValueError as error:
                raise AzureSettingsError(f"the connection string of the storage account: {error}") from None
        return QueueClient(settings.queue_account_url, name, credential=identity, **options)

    return client(settings.queue), client(f"{settings.queue}{POISON_SUFFIX}")


def blob_client(
    settings: AzureSettings,
    identity: AsyncTokenCredential | None = None,
    counter: RequestCounter | None = None,
) -> ContainerClient:
    """The client of the container of large values.

    Raises:
        AzureSettingsError: the connection string cannot be used.
    """
    options = _storage_options(BLOB, counter)
    name = settings.blob_container
    if settings.blob_connection_string:
        try:
            return ContainerClient.from_connection_string(settings.blob_connection_string, name, **options)
        except ValueError as error:
            raise AzureSettingsError(f"the connection string of the storage account: {error}") from None
    return ContainerClient(settings.blob_account_url, name, credential=identity, **options)


def _storage_options(service: str, counter: RequestCounter | None) -> dict[str, Any]:
    return {
        # One quick second try, for connections that the service closed; more is the engine's to decide.
        "retry_total": 1,
        "initial_backoff": 0,
        "increment_base": 0,
        "random_jitter_range": 0,
        "transport": Transport(service, counter),
        "connection_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
    }


def cosmos_client(
    settings: AzureSettings,
    identity: AsyncTokenCredential | None = None,
    counter: RequestCounter | None = None,
) -> CosmosClient:
    """The client of the account; consistency is the account's own."""
    options: dict[str, Any] = {
        "transport": Transport(COSMOS, counter),
        "connection_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "retry_total": 1,
        "retry_backoff_factor": 0.1,
        "retry_throttle_total": THROTTLE_RETRIES,
        "retry_throttle_backoff_max": THROTTLE_WAIT_S,
        "enable_compact_utf8_item_writes": True,
    }
    if is_emulator(settings.cosmos_endpoint):
        options |= {"connection_verify": False, "enable_endpoint_discovery": False}
    if not settings.cosmos_key and identity is None:
        raise AzureSettingsError("no key of the Cosmos DB account, and no identity to sign in with")
    return CosmosClient(settings.cosmos_endpoint, settings.cosmos_key or identity, **options)  # type: ignore[arg-type]


def redis_client(settings: AzureSettings, counter: RequestCounter | None = None) -> Redis | RedisCluster:
    """The client of Redis; round trips to a cluster are not counted.

    Raises:
        AzureSettingsError: the address cannot be used.
    """
    options: dict[str, Any] = {
        "max_connections": REDIS_CONNECTIONS,
        "socket_timeout": REDIS_TIMEOUT_S,
        "socket_connect_timeout": REDIS_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": 30,
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.05), 1),
    }
    try:
        if settings.redis_cluster:
            return RedisCluster.from_url(settings.redis_url, **options)
        pool = ConnectionPool.from_url(settings.redis_url, **options)
    except ValueError as error:
        raise AzureSettingsError(f"the address of Redis: {error}") from None
    pool.connection_class = lean(pool.connection_class, counter)
    return Redis.from_pool(pool)

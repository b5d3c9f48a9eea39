"""Clients: what they are made of, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import SSLConnection

from flowcraft_azure import AzureSettings, AzureSettingsError, RequestCounter, open_azure
from flowcraft_azure.adapter import sibling
from flowcraft_azure.connections import cosmos_client, queue_clients, redis_client

KEYLESS = AzureSettings(
    queue="orders",
    queue_account_url="https://shop.queue.core.windows.net",
    cosmos_endpoint="https://shop.documents.azure.com:443/",
    redis_url="rediss://:secret@shop:10000/0",
    identity_client_id="00000000-0000-0000-0000-000000000000",
)


async def test_a_backend_without_secrets_opens_with_the_identity_and_closes() -> None:
    async with open_azure(KEYLESS) as backend:
        assert backend.queue_name == backend.queue.name == "orders"
        other = backend.for_queue("parcels")
        assert other.queue_name == other.queue.name == "parcels"
        assert other.facts is backend.facts
    await backend.aclose()


async def test_without_key_and_identity_there_is_no_account() -> None:
    with pytest.raises(AzureSettingsError, match="no key"):
        cosmos_client(KEYLESS)


@pytest.mark.parametrize("counter", [None, RequestCounter()])
async def test_redis_over_tls_verifies_the_server(counter: RequestCounter | None) -> None:
    async with redis_client(KEYLESS, counter) as client:
        assert isinstance(client, Redis)
        pool: Any = client.connection_pool
        connection = pool.make_connection()
        assert isinstance(connection, SSLConnection)
        assert connection.ssl_context.cert_reqs.name == "CERT_REQUIRED"
        assert connection.ssl_context.check_hostname


async def test_a_cluster_is_met_with_a_cluster_client() -> None:
    settings = AzureSettings("orders", redis_url="redis://shop:10000/0", redis_cluster=True)
    assert isinstance(redis_client(settings), RedisCluster)


@pytest.mark.parametrize(
    "connection_string",
    [
        "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net",
        "AccountName=a;AccountKey=c2VjcmV0;QueueEndpoint=http://127.0.0.1:10001/a",
        "QueueEndpoint=https://shop.queue.core.windows.net;SharedAccessSignature=sv=2021&sig=x%3D&sp=raup",
    ],
)
async def test_the_poison_queue_is_a_sibling_with_the_same_credential(connection_string: str) -> None:
    settings = AzureSettings("orders", queue_connection_string=connection_string)
    client, poison = queue_clients(settings)
    derived = sibling(client, "orders-poison")
    assert derived.url == poison.url
    assert type(derived.credential) is type(poison.credential)
    for opened in (client, poison, derived):
        await opened.close()

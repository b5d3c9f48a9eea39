"""All three services of one queue, opened together."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from flowcraft.ports import Clock
from flowcraft_azure.connections import cosmos_client, credential, queue_clients, redis_client
from flowcraft_azure.coordination import RedisCoordinationStore
from flowcraft_azure.count import RequestCounter
from flowcraft_azure.facts import CosmosFactStore
from flowcraft_azure.queue import AzureJobQueue
from flowcraft_azure.settings import AzureSettings


@dataclass(slots=True)
class AzureBackend:
    """The ports of one queue on Azure, and the clients behind them.

    Nothing is sent before the first use, so a service that cannot be reached shows then, as
    ``BackendUnavailableError``, and is asked again at each use. ``async with`` closes the clients.
    """

    settings: AzureSettings
    queue: AzureJobQueue
    facts: CosmosFactStore
    coordination: RedisCoordinationStore
    _clients: list[Any] = field(default_factory=list)

    @property
    def queue_name(self) -> str:
        """Name of the queue."""
        return self.settings.queue

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; doing it again changes nothing."""
        async with AsyncExitStack() as stack:
            while self._clients:
                client = self._clients.pop()
                stack.push_async_callback(client.aclose if hasattr(client, "aclose") else client.close)


def open_azure(
    settings: AzureSettings,
    clock: Clock,
    randomness: random.Random,
    *,
    counter: RequestCounter | None = None,
) -> AzureBackend:
    """Make the clients and ports of one queue; to be called in the event loop that will use them.

    Args:
        settings: Where the services are.
        clock: For idle waits.
        randomness: For jitter.
        counter: Counts every request, where given.

    Raises:
        AzureSettingsError: a connection string cannot be used.
    """
    identity = credential(settings) if settings.needs_identity else None
    queue, poison = queue_clients(settings, identity, counter)
    cosmos = cosmos_client(settings, identity, counter)
    redis = redis_client(settings, counter)
    return AzureBackend(
        settings=settings,
        queue=AzureJobQueue(
            queue, poison, clock=clock, randomness=randomness, base64_messages=settings.base64_messages
        ),
        facts=CosmosFactStore(
            cosmos,
            settings.cosmos_database,
            settings.cosmos_context_container,
            settings.cosmos_status_container,
        ),
        coordination=RedisCoordinationStore(redis, settings.queue, randomness=randomness),
        _clients=[client for client in (identity, redis, cosmos, poison, queue) if client is not None],
    )

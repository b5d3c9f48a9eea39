"""All three services of one queue, opened together."""

from __future__ import annotations

import dataclasses
import random as randomness
from contextlib import AsyncExitStack
from typing import Any, Self

from azure.core.credentials_async import AsyncTokenCredential

from flowcraft.clock import SystemClock
from flowcraft.large_values import LargeValueFacts
from flowcraft.ports import Clock, FactStore
from flowcraft_azure.connections import blob_client, cosmos_client, credential, queue_clients, redis_client
from flowcraft_azure.coordination import RedisCoordinationStore
from flowcraft_azure.count import RequestCounter
from flowcraft_azure.facts import CosmosFactStore
from flowcraft_azure.queue import AzureJobQueue
from flowcraft_azure.settings import AzureSettings
from flowcraft_azure.values import BlobValueStore


class AzureBackend:
    """The ports of one queue on Azure, and the clients behind them; an async context manager.

    Nothing is sent before the first use, so a service that cannot be reached shows then, as
    ``BackendUnavailableError``, and is asked again at each use. Use it in the event loop that opened it.

    Attributes:
        settings: Where the services are.
        queue: The queue.
        facts: The fact store.
        coordination: Claims, joins and hints.
        clock: The clock of idle waits.
    """

    def __init__(
        self,
        settings: AzureSettings,
        clock: Clock,
        random: randomness.Random,
        counter: RequestCounter | None = None,
    ) -> None:
        """See ``open_azure``."""
        self.settings = settings
        self.clock = clock
        self._random = random
        self._counter = counter
        self._clients: list[Any] = []
        identity = credential(settings) if settings.needs_identity else None
        self._identity = self._kept(identity) if identity else None
        cosmos = self._kept(cosmos_client(settings, identity, counter))
        redis = self._kept(redis_client(settings, counter))
        self.queue = self._queue(self._identity)
        facts = CosmosFactStore(
            cosmos,
            settings.cosmos_database,
            settings.cosmos_context_container,
            settings.cosmos_status_container,
        )
        self.facts: FactStore = facts
        if settings.has_blobs:
            values = BlobValueStore(self._kept(blob_client(settings, identity, counter)))
            self.facts = LargeValueFacts(facts, values)
        self.coordination = RedisCoordinationStore(redis, random=random)

    @property
    def queue_name(self) -> str:
        """Name of the queue."""
        return self.settings.queue

    def for_queue(self, queue_name: str) -> AzureBackend:
        """The ports of another queue of the same accounts; its clients are closed with this one's."""
        other = AzureBackend.__new__(AzureBackend)
        other.__dict__ = {**self.__dict__, "settings": dataclasses.replace(self.settings, queue=queue_name)}
        other.queue = other._queue(self._identity)  # noqa: SLF001 - of this class
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; doing it again changes nothing."""
        async with AsyncExitStack() as stack:
            while self._clients:
                client = self._clients.pop(0)
                stack.push_async_callback(client.aclose if hasattr(client, "aclose") else client.close)

    def _queue(self, identity: AsyncTokenCredential | None) -> AzureJobQueue:
        client, poison = queue_clients(self.settings, identity, self._counter)
        return AzureJobQueue(
            self._kept(client),
            self._kept(poison),
            clock=self.clock,
            random=self._random,
            base64_messages=self.settings.base64_messages,
        )

    def _kept(self, client: Any) -> Any:
        self._clients.append(client)
        return client


def open_azure(
    settings: AzureSettings,
    clock: Clock | None = None,
    random: randomness.Random | None = None,
    *,
    counter: RequestCounter | None = None,
) -> AzureBackend:
    """Make the clients and ports of one queue.

    Args:
        settings: Where the services are.
        clock: For idle waits; the machine's by default.
        random: For jitter.
        counter: Counts every request, where given.

    Raises:
        AzureSettingsError: a connection string cannot be used.
    """
    source = random or randomness.Random()  # noqa: S311 - jitter, no secret
    return AzureBackend(settings, clock or SystemClock(), source, counter)

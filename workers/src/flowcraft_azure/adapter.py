"""The seed's worker: an adapter over clients that the caller made."""

from __future__ import annotations

import os
import random as randomness
import socket
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from azure.cosmos.aio import CosmosClient
from azure.storage.blob.aio import ContainerClient
from azure.storage.queue.aio import QueueClient

from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.large_values import LargeValueFacts
from flowcraft.ports import Clock, Coordination, FactStore
from flowcraft.runtime import RuntimeOptions
from flowcraft_azure.facts import CosmosFactStore
from flowcraft_azure.queue import AzureJobQueue
from flowcraft_azure.settings import POISON_SUFFIX
from flowcraft_azure.values import BlobValueStore


class AzureQueueAdapter:
    """Works on the jobs of one queue: the seed's adapter, and the ports behind it.

    ``await adapter.start()`` returns once it polls, ``await adapter.wait()`` blocks until it is stopped, and
    ``await adapter.stop()`` drains; ``async with`` starts and stops. The clients are the caller's to close.

    Attributes:
        queue_name: Name of the queue.
        queue: The queue.
        facts: The fact store.
        database_name: Name of the database.
        status_container_name: Name of the container of run headers.
        coordination: The coordination store that was given.
        clock: The clock.
    """

    def __init__(  # noqa: PLR0913 - the seed's names, and what a test injects
        self,
        *,
        runtime_options: RuntimeOptions,
        coordination_store: Coordination,
        queue_client: QueueClient,
        cosmos_client: CosmosClient,
        cosmos_database_name: str,
        context_container_name: str,
        status_container_name: str,
        poison_queue_client: QueueClient | None = None,
        value_container_client: ContainerClient | None = None,
        settings: WorkerSettings | None = None,
        clock: Clock | None = None,
        random: randomness.Random | None = None,
        worker_id: str | None = None,
    ) -> None:
        """Put the ports together; nothing is sent yet.

        Args:
            runtime_options: Blueprints and implementations: ``FlowRuntime(…).options``.
            coordination_store: ``RedisCoordinationStore(redis)``.
            queue_client: An ``azure.storage.queue.aio`` client of the queue.
            cosmos_client: An ``azure.cosmos.aio`` client.
            cosmos_database_name: Name of the database.
            context_container_name: Name of the container of records and context.
            status_container_name: Name of the container of run headers.
            poison_queue_client: Of the queue for messages that cannot be worked on; ``<queue>-poison`` of the
                same account by default.
            value_container_client: Of the blob container for outputs and context over 128 KiB; without it a
                value that does not fit into an item of Cosmos DB (2 MB) fails its node.
            settings: How the worker works.
            clock: The machine's by default.
            random: For jitter.
            worker_id: Written into records; host and process id by default.
        """
        source = random or randomness.Random()  # noqa: S311 - jitter, no secret
        self._poison = poison_queue_client or sibling(
            queue_client, f"{queue_client.queue_name}{POISON_SUFFIX}"
        )
        self._owns_poison = poison_queue_client is None
        self.clock = clock or SystemClock()
        self.queue_name = str(queue_client.queue_name)
        self.queue = AzureJobQueue(queue_client, self._poison, clock=self.clock, random=source)
        facts = CosmosFactStore(
            cosmos_client, cosmos_database_name, context_container_name, status_container_name
        )
        self.database_name = cosmos_database_name
        self.status_container_name = status_container_name
        self.facts: FactStore = facts
        if value_container_client is not None:
            self.facts = LargeValueFacts(facts, BlobValueStore(value_container_client))
        self.coordination = coordination_store
        self._services = Services(
            queue_name=self.queue_name,
            queue=self.queue,
            facts=self.facts,
            coordination=self.coordination,
            clock=self.clock,
            random=source,
            evaluator=runtime_options.extensions.evaluator or ExpressionEvaluator(),
            catalog=runtime_options,
            worker_id=worker_id or f"{socket.gethostname()}-{os.getpid()}",
            settings=settings or WorkerSettings(),
        )
        self._worker: Worker | None = None

    @property
    def client(self) -> Client:
        """Starts runs of this queue, and steers them."""
        extensions = self._services.catalog.extensions
        return Client(
            self.queue_name,
            self.queue,
            self.facts,
            self.coordination,
            self.clock,
            extensions.tracing,
            extensions.serializer,
        )

    @property
    def worker(self) -> Worker | None:
        """The worker while it runs."""
        return self._worker

    async def start(self) -> None:
        """Begin to poll.

        Raises:
            RuntimeError: it is started already.
        """
        if self._worker is not None:
            raise RuntimeError("this adapter is started already")
        self._worker = Worker(self._services)
        await self._worker.start()

    async def wait(self) -> None:
        """Return when the adapter is stopped; at once if it was not started."""
        if self._worker is not None:
            await self._worker.wait()

    async def stop(self) -> None:
        """Drain: take nothing new, finish or give back what is in work. It can be started again."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()
        if self._owns_poison:
            await self._poison.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


def sibling(client: QueueClient, name: str) -> QueueClient:
    """A client of another queue of the same account, with the same credential."""
    parts = urlsplit(client.url)
    account_path = parts.path.rsplit("/", 1)[0]
    url = urlunsplit(parts._replace(path=f"{account_path}/{name}"))
    return QueueClient.from_queue_url(url, credential=client.credential)

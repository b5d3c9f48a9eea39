"""The floor: what the SDK alone needs to create one item a node."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from azure.cosmos.aio import ContainerProxy

from benchmarks.counting import counted
from benchmarks.documents import record_item
from benchmarks.laps import CONCURRENCY, Lap, Load, Stopwatch, keep_busy
from flowcraft_azure import AzureSettings, RequestCounter
from flowcraft_azure.connections import cosmos_client


class FloorContestant:
    """Creates as many items as a load has nodes, at the worker's concurrency."""

    def __init__(self, contexts: ContainerProxy, counter: RequestCounter) -> None:
        self._contexts = contexts
        self._counter = counter

    async def lap(self, load: Load) -> Lap:
        """Create an item a node."""
        run_id = f"floor-{random.getrandbits(64):016x}"
        names = iter(range(load.nodes))

        async def create() -> None:
            await self._contexts.create_item(record_item(run_id, f"n{next(names)}", ""), no_response=True)

        self._counter.clear()
        watch = Stopwatch()
        await keep_busy(Load("linear5", load.nodes, CONCURRENCY), create)
        return watch.lap(load, counted(self._counter))


@asynccontextmanager
async def on_azure(settings: AzureSettings) -> AsyncIterator[FloorContestant]:
    """The floor on Azure's services, or their stand-ins."""
    counter = RequestCounter()
    async with cosmos_client(settings, counter=counter) as client:
        database = client.get_database_client(settings.cosmos_database)
        contexts = database.get_container_client(settings.cosmos_context_container)
        await contexts.read()
        yield FloorContestant(contexts, counter)

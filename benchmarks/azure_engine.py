"""The engine on Azure's services, or their stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.counting import counted
from benchmarks.engine import EngineContestant
from flowcraft.distributed.services import WorkerSettings
from flowcraft_azure import AzureSettings, RequestCounter, open_azure


@asynccontextmanager
async def on_azure(
    settings: AzureSettings, worker: WorkerSettings | None = None
) -> AsyncIterator[EngineContestant]:
    """One worker and its client, their requests counted."""
    counter = RequestCounter()
    async with open_azure(settings, counter=counter) as ports:
        yield EngineContestant(
            ports.queue,
            ports.facts,
            ports.coordination,
            queue_name=settings.queue,
            worker=worker,
            clear=counter.clear,
            requests=lambda: counted(counter),
        )

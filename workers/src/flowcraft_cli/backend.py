"""Opening the backend that the settings choose: its ports, and the client over them."""

from __future__ import annotations

import random as randomness
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.distributed.client import Client
    from flowcraft.ports import Clock, Coordination, FactStore, JobQueue


@dataclass(frozen=True, slots=True)
class Backend:
    """The ports of one queue, with the machine's clock and randomness; ``poison`` opens its poison queue."""

    queue_name: str
    queue: JobQueue
    facts: FactStore
    coordination: Coordination
    clock: Clock
    random: randomness.Random
    poison: Callable[[], JobQueue]

    @property
    def client(self) -> Client:
        """The client that starts runs in this queue and steers them."""
        from flowcraft.distributed.client import Client

        return Client(self.queue_name, self.queue, self.facts, self.coordination, self.clock)


@asynccontextmanager
async def open_backend(settings: Settings, *, create: bool = False) -> AsyncIterator[Backend]:
    """The backend, closed at the end.

    Args:
        settings: Which, and where.
        create: Make the embedded backend's file if there is none; else that is told.

    Raises:
        UsageError: a setting is missing or malformed.
        BackendRefusedError: it refuses: credentials, a missing database, a file that is none of ours.
        BackendUnavailableError: it cannot be reached.
    """
    opened = (
        _open_azure(settings)
        if settings.chosen_backend == "azure"
        else _open_embedded(settings, create=create)
    )
    async with opened as backend:
        yield backend


@asynccontextmanager
async def _open_embedded(settings: Settings, *, create: bool) -> AsyncIterator[Backend]:
    from flowcraft.clock import SystemClock
    from flowcraft.embedded import open_embedded

    if create:
        _make_folder(settings)
    elif not settings.db.exists():
        raise UsageError(
            f"there is no file {settings.db} here: `flowcraft run`, `worker` and `start` make it; "
            "or give the right one with --db"
        )
    clock, random = SystemClock(), randomness.Random()  # noqa: S311  etags and jitter, no secrets
    async with open_embedded(settings.db, settings.queue, clock, random) as ports:
        name = settings.queue

        def poison() -> JobQueue:
            return ports.for_queue(f"{name}-poison").queue

        yield Backend(name, ports.queue, ports.facts, ports.coordination, clock, random, poison)


def _make_folder(settings: Settings) -> None:
    """Make the folder of the file; the default one hides itself from version control."""
    folder = settings.db.parent
    if str(settings.db) == ":memory:" or folder.exists():
        return
    try:
        folder.mkdir(parents=True)
        if folder.name == ".flowcraft":
            (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be made ({error.strerror}); give another --db"
        ) from None


@asynccontextmanager
async def _open_azure(settings: Settings) -> AsyncIterator[Backend]:
    import os

    from flowcraft.clock import SystemClock

    try:
        from flowcraft_azure.backend import open_azure
        from flowcraft_azure.settings import AzureSettings, AzureSettingsError
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the Azure SDK is not installed ({error.name}); install flowcraft-runtime[azure]"
        ) from None
    clock, random = SystemClock(), randomness.Random()  # noqa: S311  etags and jitter, no secrets
    try:
        azure = AzureSettings.from_environment(os.environ, settings.queue)
        opened = open_azure(azure, clock, random)
    except AzureSettingsError as error:
        raise UsageError(f"{error}; or use --backend embedded") from None
    async with opened as ports:

        def poison() -> JobQueue:
            return ports.for_queue(f"{azure.queue}-poison").queue

        yield Backend(azure.queue, ports.queue, ports.facts, ports.coordination, clock, random, poison)

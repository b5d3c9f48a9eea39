"""Opening the embedded backend: three ports over one file."""

from __future__ import annotations

import random as randomness
from collections.abc import Callable
from os import PathLike, fspath
from types import TracebackType
from typing import Self

from flowcraft.clock import SystemClock
from flowcraft.embedded.coordination import EmbeddedCoordination
from flowcraft.embedded.database import Database
from flowcraft.embedded.durability import sync_file
from flowcraft.embedded.facts import EmbeddedFacts
from flowcraft.embedded.jobs import EmbeddedQueue
from flowcraft.embedded.values import EmbeddedValues
from flowcraft.large_values import LargeValueFacts
from flowcraft.ports.clock import Clock


class EmbeddedBackend:
    """The ports of one queue on one file; an async context manager. Use it in the event loop that opened it.

    Attributes:
        queue_name: The queue that ``queue`` takes from.
        queue: The ``JobQueue``.
        facts: The ``FactStore``, the same for all queues of the file.
        coordination: The ``Coordination``; hints go to the queue's listeners.
    """

    def __init__(self, database: Database, queue_name: str) -> None:
        """Args: a database that is opened when the context is entered; the queue's name."""
        self._database = database
        self.queue_name = queue_name
        self.queue = EmbeddedQueue(database, queue_name)
        self.facts = LargeValueFacts(EmbeddedFacts(database), EmbeddedValues(database))
        self.coordination = EmbeddedCoordination(database, queue_name)

    def for_queue(self, queue_name: str) -> EmbeddedBackend:
        """The ports of another queue on the same open file; it is closed with this one."""
        return EmbeddedBackend(self._database, queue_name)

    async def __aenter__(self) -> Self:
        """Open the file, creating it if needed.

        Raises:
            BackendRefusedError: not a database, of another program or a newer version, damaged, not writable,
                or on a network file system; the text says what to do.
            BackendUnavailableError: locked for long, or the disk fails.
        """
        await self._database.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make everything durable and close the file."""
        await self._database.close()


def open_embedded(
    path: str | PathLike[str],
    queue_name: str,
    clock: Clock | None = None,
    random: randomness.Random | None = None,
    *,
    sync: Callable[[int], None] = sync_file,
) -> EmbeddedBackend:
    """The embedded backend on a file, opened and closed by ``async with``.

    Args:
        path: The file; several processes may have it open. ``:memory:`` is a store of its own that is gone at
            the end.
        queue_name: The queue to take from; it needs no creating, and one file holds many.
        clock: Time; the machine's by default. Leases and delays are wall-clock times of this clock.
        random: Randomness for etags and receipts, which must differ between processes.
        sync: How a file descriptor is synced; for tests that cut the power.
    """
    source = random or randomness.Random()  # noqa: S311 - nobody guesses etags
    return EmbeddedBackend(Database(fspath(path), clock or SystemClock(), source, sync), queue_name)

"""The ports of one queue, and the hint to whoever listens on it."""

from __future__ import annotations

from typing import Protocol

from flowcraft.ports import Clock, Coordination, FactStore, JobQueue
from flowcraft.ports.coordination import hint_channel
from flowcraft.ports.errors import BackendUnavailableError


class Ports(Protocol):
    """The ports of one queue: what a client, a worker and the reconciler have in common."""

    @property
    def queue_name(self) -> str:
        """Name of the queue."""
        ...

    @property
    def queue(self) -> JobQueue:
        """The queue."""
        ...

    @property
    def facts(self) -> FactStore:
        """The fact store."""
        ...

    @property
    def coordination(self) -> Coordination:
        """Claims, joins and hints."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock."""
        ...


async def hint(ports: Ports, run_id: str) -> None:
    """Tell listeners of the queue that a run's header changed (after ``+``: that it was signalled too)."""
    try:
        await ports.coordination.notify(hint_channel(ports.queue_name), run_id)
    except BackendUnavailableError:
        return  # a hint only saves time

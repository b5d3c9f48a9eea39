"""The event store port: what was told about runs, kept for people, replays and inspection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from flowcraft.events import Event


@dataclass(frozen=True, slots=True)
class HistoryStats:
    """How much a store holds.

    Attributes:
        events: Number of events.
        executions: Number of runs that they are of.
        oldest_at: ISO-8601 UTC of the oldest event; empty without one.
        newest_at: The same of the newest.
    """

    events: int
    executions: int
    oldest_at: str = ""
    newest_at: str = ""


class EventStore(Protocol):
    """Keeps events by run, in the order in which they happened; several processes may share one.

    As a subscriber of an event bus it gets events many at a time. A run's events are kept together and
    deleted together. Every method raises ``BackendUnavailableError`` when the store cannot be reached.
    """

    async def store(self, event: Event, execution_id: str = "") -> None:
        """Keep one event; by default under its own run."""
        ...

    async def store_many(self, events: Sequence[Event]) -> None:
        """Keep events in this order, all of them or none."""
        ...

    async def retrieve(self, execution_id: str) -> list[Event]:
        """All events of a run, in order; none where it is not known."""
        ...

    async def retrieve_multiple(self, execution_ids: Iterable[str]) -> Mapping[str, list[Event]]:
        """The same for several runs, each of them in the answer."""
        ...

    async def stats(self) -> HistoryStats:
        """How much there is."""
        ...

    async def purge(self, before: datetime) -> int:
        """Delete the runs whose newest event is older; gives the number of events deleted."""
        ...

    async def clear(self) -> None:
        """Delete everything."""
        ...

    async def close(self) -> None:
        """Let go of files and connections."""
        ...

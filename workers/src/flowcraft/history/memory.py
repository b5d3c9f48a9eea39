"""Events in this process's memory: for tests, and for what need not outlive it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from flowcraft.events import Event
from flowcraft.history.retention import Retention
from flowcraft.ports.history import HistoryStats
from flowcraft.times import iso


class MemoryEventStore:
    """Implements ``EventStore``."""

    def __init__(self, retention: Retention | None = None) -> None:
        self._retention = retention
        self._events: dict[str, list[Event]] = {}

    async def store(self, event: Event, execution_id: str = "") -> None:
        """Keep one event."""
        self._events.setdefault(execution_id or event.execution_id, []).append(event)

    async def store_many(self, events: Sequence[Event]) -> None:
        """Keep events."""
        for event in events:
            self._events.setdefault(event.execution_id, []).append(event)
        due = self._retention.due() if self._retention else None
        if due is not None:
            await self.purge(due)

    async def retrieve(self, execution_id: str) -> list[Event]:
        """All events of a run."""
        return list(self._events.get(execution_id, ()))

    async def retrieve_multiple(self, execution_ids: Iterable[str]) -> dict[str, list[Event]]:
        """The same for several runs."""
        return {run_id: await self.retrieve(run_id) for run_id in execution_ids}

    async def stats(self) -> HistoryStats:
        """How much there is."""
        times = [event.at for events in self._events.values() for event in events]
        return HistoryStats(len(times), len(self._events), min(times, default=""), max(times, default=""))

    async def purge(self, before: datetime) -> int:
        """Delete what is older."""
        limit = iso(before)
        old = [run_id for run_id, events in self._events.items() if max(event.at for event in events) < limit]
        return sum(len(self._events.pop(run_id)) for run_id in old)

    async def clear(self) -> None:
        """Delete everything."""
        self._events.clear()

    async def close(self) -> None:
        """Nothing is held."""

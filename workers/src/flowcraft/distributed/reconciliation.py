"""Reconciliation: the runs of a queue that are due are repaired, finished ones purged after retention."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.repair import ALARM_GRACE_S, repair
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.pinning import Plans
from flowcraft.distributed.runs.retention import purge
from flowcraft.event_bus import EventBus
from flowcraft.ports import HeaderQuery, Stored
from flowcraft.ports.errors import BackendUnavailableError, PortError, PreconditionFailedError
from flowcraft.telemetry import Telemetry
from flowcraft.times import parse_time
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument

FULL_PASS_EVERY: Final = 4
"""Every so many thresholds, all active runs are looked at, however recently touched."""


@dataclass(frozen=True, slots=True)
class ReconciliationStats:
    """What one pass did.

    Attributes:
        stalled_runs: Active runs that were due because nothing had touched them.
        reconciled_runs: Runs of which something was missing, and was written or signalled.
        failed_runs: Runs that could not be looked at; the next pass tries again.
        purged_runs: Finished runs deleted after their retention.
        leader: False when another reconciler holds the lease, and nothing was done.
    """

    stalled_runs: int = 0
    reconciled_runs: int = 0
    failed_runs: int = 0
    purged_runs: int = 0
    leader: bool = True


@dataclass(slots=True)
class Reconciler:
    """Looks after the runs of one queue; ``run`` is one pass, to be called every interval.

    Attributes:
        ports: The ports of the queue.
        holder: Name for the lease: one pass at a time per queue.
        stalled_threshold_s: A running run untouched for so long is due.
        lease_s: Longer than a pass takes; a dead holder is replaced after it.
        events: Who hears of stalled runs.
    """

    ports: Ports
    holder: str
    stalled_threshold_s: float = 300.0
    lease_s: float = 120.0
    alarm_grace_s: float = ALARM_GRACE_S
    plans: Plans = field(default_factory=Plans)
    log: Any = field(default_factory=structlog.get_logger)
    events: EventBus = field(default_factory=EventBus)
    _last_full: datetime | None = None

    async def run(self) -> ReconciliationStats:
        """One pass over the runs that are due, and over those whose retention is over.

        Raises:
            PortError: the store cannot be listed; nothing is known of any run then.
        """
        lease = f"reconciliation:{self.ports.queue_name}"
        if not await self._lease(lease):
            return ReconciliationStats(leader=False)
        now = self.ports.clock.now()
        oldest_s = await self._oldest_visible_s(now)
        stalled = reconciled = failed = 0
        seen: set[str] = set()
        async for stored, is_stalled in self._due(now):
            run_id = stored.document.get("runId") or stored.document["id"]
            if run_id in seen:
                continue
            seen.add(run_id)
            stalled += is_stalled
            try:
                if is_stalled:
                    self._tell(run_id, stored.document)
                allowed = headers.may_signal(stored.document, now, self.stalled_threshold_s, oldest_s)
                done = await repair(
                    self.ports, run_id, self.plans, may_signal=allowed, alarm_grace_s=self.alarm_grace_s
                )
                reconciled += done.changed
                if is_stalled and not done.changed:
                    await self._touch(run_id)
            except Exception as error:  # one broken run must not stop the others
                failed += 1
                self.log.warning("reconciliation of a run failed", run_id=run_id, error=str(error))
            await self._lease(lease)
        purged = await self._purge(now, lease)
        return ReconciliationStats(stalled, reconciled, failed, purged)

    def _tell(self, run_id: str, header: HeaderDocument) -> None:
        told = Telemetry.of(self.events, self.ports.clock, run_id, header.get("blueprintId", ""))
        if told is not None:
            progress = header.get("progress") or {"done": 0, "total": 0}
            told.stalled(progress["total"] - progress["done"])

    async def _due(self, now: datetime) -> AsyncIterator[tuple[Stored, bool]]:
        threshold = timedelta(seconds=self.stalled_threshold_s)
        queue = self.ports.queue_name
        untouched = HeaderQuery(queue=queue, statuses=["running"], untouched_since=now - threshold)
        async for page in self.ports.facts.headers(untouched):
            for stored in page:
                yield stored, True
        async for page in self.ports.facts.headers(
            HeaderQuery(queue=queue, statuses=headers.ACTIVE, due_at=now)
        ):
            for stored in page:
                yield stored, False
        if self._last_full is None or now - self._last_full >= FULL_PASS_EVERY * threshold:
            async for page in self.ports.facts.headers(
                HeaderQuery(queue=queue, statuses=["running", "awaiting"])
            ):
                for stored in page:
                    if self._last_full is not None or _older(stored.document, now, threshold):
                        yield stored, False
            self._last_full = now

    async def _oldest_visible_s(self, now: datetime) -> float:
        try:
            oldest = (await self.ports.queue.depth()).oldest_visible
        except PortError:
            return 0.0
        return max((now - oldest).total_seconds(), 0.0) if oldest else 0.0

    async def _touch(self, run_id: str) -> None:
        stored = await self.ports.facts.read_header(run_id)
        document = headers.touched(stored.document, self.ports.clock.now()) if stored else None
        if stored and document:
            try:
                await self.ports.facts.replace_header(stored, document)
            except PreconditionFailedError:
                return  # somebody else touched it

    async def _purge(self, now: datetime, lease: str) -> int:
        purged = 0
        query = HeaderQuery(queue=self.ports.queue_name, statuses=sorted(TERMINAL_STATUSES), expired_at=now)
        async for page in self.ports.facts.headers(query):
            for stored in page:
                if not headers.expired(stored.document, now):
                    continue  # whatever a backend lists: only what has ended, and is over its time
                run_id = stored.document.get("runId") or stored.document["id"]
                try:
                    await purge(self.ports, run_id)
                except Exception as error:  # one broken run must not keep the others
                    self.log.warning("run not purged; the next pass goes on", run_id=run_id, error=str(error))
                else:
                    purged += 1
                await self._lease(lease)
        return purged

    async def _lease(self, name: str) -> bool:
        try:
            return await self.ports.coordination.lease(name, self.holder, self.lease_s)
        except BackendUnavailableError:
            return True  # two at once are harmless, none is not


def _older(document: HeaderDocument, now: datetime, threshold: timedelta) -> bool:
    touched = parse_time(document.get("lastUpdated"))
    return touched is None or now - touched > threshold

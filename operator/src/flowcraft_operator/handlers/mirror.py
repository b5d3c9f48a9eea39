"""The status mirror of one pool: reads changed run headers while runs are active, and nothing at rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from flowcraft.distributed.client import Client
from flowcraft.ports import Clock, HeaderQuery, Stored
from flowcraft.ports.coordination import hint_channel
from flowcraft.ports.errors import PortError
from flowcraft_api.wire import HeaderDocument
from flowcraft_operator.handlers.run_record import RunRecord

OVERLAP: Final = timedelta(seconds=60)
"""How far a poll looks back behind the last one: clocks differ, and queries may lag behind writes."""
LOOKED_UP_AT_ONCE: Final = 100
COALESCE_S: Final = 0.2
"""Hints that come within this time are answered by one query."""
FAILED_WAIT_S: Final = 5.0
PROGRESS_EVERY_S: Final = 10.0
COUNTED_AT_ONCE: Final = 500

_log = logging.getLogger(__name__)


class Seen(Protocol):
    """Takes a header that was read."""

    def __call__(self, record: RunRecord, document: HeaderDocument | None, etag: str) -> None:
        """A document of None says that there is no such run."""
        ...


@dataclass(frozen=True, slots=True)
class MirrorPorts:
    """What a mirror works with.

    Attributes:
        client: The client of the pool's backend; None while there is none.
        active: The runs of the pool that have not ended, by run id.
        seen: Takes every header that was read.
        progressed: Takes a run of which more is resolved than was known.
        report: Takes note of how reading went.
        arrived: Called when a hint says that work was sent.
    """

    client: Callable[[], Client | None]
    active: Callable[[], Mapping[str, RunRecord]]
    seen: Seen
    progressed: Callable[[RunRecord], None]
    report: Callable[[PortError | None], None]
    arrived: Callable[[], None]


@dataclass(slots=True)
class Mirror:
    """Mirrors the headers of one pool's runs.

    Every `poll_s` it reads what changed in the pool's queue, every `sweep_s` every active run; runs that a
    hint names, or that were never read, at once. Nothing is read while no run is active.
    """

    ports: MirrorPorts
    clock: Clock
    poll_s: float
    sweep_s: float
    alive_at: float = 0.0
    _wanted: set[str] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _watermark: datetime | None = None
    _polled_at: float | None = None
    _swept_at: float | None = None
    _counted_at: float | None = None

    def look_up(self, run_id: str) -> None:
        """Have a run's header read at once."""
        self._wanted.add(run_id)
        self._wake.set()

    async def run(self) -> None:
        """Mirror until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mirror())
            tasks.create_task(self._listen())

    async def _mirror(self) -> None:
        while True:
            self.alive_at = self.clock.monotonic()
            client = self.ports.client()
            wait_s = self.poll_s
            if client is not None and self.ports.active():
                try:
                    await self._look(client)
                    self.ports.report(None)
                except PortError as error:
                    self.ports.report(error)
                    wait_s = FAILED_WAIT_S
            elif not self.ports.active():
                self._watermark = None
                self._wanted.clear()
            await self._pause(wait_s)

    async def _pause(self, wait_s: float) -> None:
        """Until the next poll, or until a run is to be looked up."""
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return
        await self.clock.sleep(COALESCE_S)
        self._wake.clear()

    async def _look(self, client: Client) -> None:
        now = self.clock.monotonic()
        wanted, self._wanted = self._wanted, set()
        try:
            if self._swept_at is None or now - self._swept_at >= self.sweep_s:
                known = {key for key, record in self.ports.active().items() if record.header_known}
                wanted = wanted & self.ports.active().keys() | known
                await self._look_up(client, sorted(wanted))
                self._swept_at = now
            elif wanted:
                await self._look_up(client, sorted(wanted & self.ports.active().keys()))
            if self._polled_at is None or now - self._polled_at >= self.poll_s * 0.9:
                await self._poll(client)
                self._polled_at = now
            if self._counted_at is None or now - self._counted_at >= PROGRESS_EVERY_S:
                await self._count(client)
                self._counted_at = now
        except PortError:
            self._wanted |= wanted
            raise

    async def _poll(self, client: Client) -> None:
        """What changed since the last poll."""
        started = self.clock.now()
        since = (self._watermark or started) - OVERLAP
        async for page in client.list(HeaderQuery(queue=client.queue_name, changed_since=since)):
            self._take(page)
        self._watermark = started

    async def _look_up(self, client: Client, run_ids: Sequence[str]) -> None:
        for start in range(0, len(run_ids), LOOKED_UP_AT_ONCE):
            part = run_ids[start : start + LOOKED_UP_AT_ONCE]
            asked = {key: self.ports.active()[key].sightings for key in part if key in self.ports.active()}
            found: set[str] = set()
            async for page in client.list(HeaderQuery(run_ids=part)):
                found |= self._take(page)
            for run_id in asked.keys() - found:
                record = self.ports.active().get(run_id)
                if record is not None and record.sightings == asked[run_id]:
                    self.ports.seen(record, None, "")

    async def _count(self, client: Client) -> None:
        """How far running runs are, as Redis has it; their headers say so only now and then."""
        running = [
            key
            for key, record in self.ports.active().items()
            if (record.header or {}).get("status") == "running"
        ]
        for start in range(0, len(running), COUNTED_AT_ONCE):
            try:
                counts = await client.coordination.progress(running[start : start + COUNTED_AT_ONCE])
            except PortError:
                return  # it may lag
            for run_id, done in counts.items():
                record = self.ports.active().get(run_id)
                if record is not None and _grew(record, done):
                    self.ports.progressed(record)

    def _take(self, page: Sequence[Stored]) -> set[str]:
        active = self.ports.active()
        found = set()
        for stored in page:
            run_id = stored.document.get("runId") or stored.document["id"]
            found.add(run_id)
            record = active.get(run_id)
            if record is not None:
                self.ports.seen(record, stored.document, stored.etag)
        return found

    async def _listen(self) -> None:
        """Hints bring the next look forward; without them everything is found, only later."""
        while True:
            client = self.ports.client()
            if client is None:
                await self.clock.sleep(1.0)
                continue
            hearing = asyncio.create_task(self._hear(client))
            try:
                while not hearing.done() and self.ports.client() is client:
                    await asyncio.wait({hearing}, timeout=FAILED_WAIT_S)
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self, client: Client) -> None:
        try:
            async with client.coordination.listen(hint_channel(client.queue_name)) as texts:
                async for text in texts:
                    self._hinted(text)
        except PortError as error:
            _log.debug("no hints: %s", error)
        await self.clock.sleep(FAILED_WAIT_S)

    def _hinted(self, text: str) -> None:
        run_id = text.removeprefix("+")
        if run_id in self.ports.active():
            self.look_up(run_id)
        if run_id != text or not text:
            self.ports.arrived()


def _grew(record: RunRecord, done: int) -> bool:
    """Whether more of a run is resolved than was known; a strange header concerns its own run only."""
    try:
        return record.see_progress(done)
    except (TypeError, KeyError) as error:
        _log.warning("progress of run %s cannot be told: its header holds %r", record.uid, error)
        return False

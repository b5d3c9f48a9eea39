"""The coordination port in memory; ``CoordinationServer`` can forget, lose an arrival, or lose a claim."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.link import Link

from flowcraft.ports import Arrival, Claim, ClaimRequest, Clock, Discharge, JoinArrival

DONE_S: Final = 3600.0
RUN_S: Final = 24 * 3600.0


@dataclass
class HeldClaim:
    """A claim, or the mark that its obligation was discharged (an empty token)."""

    token: str
    until: float


@dataclass
class JoinEntry:
    """What is known of a join."""

    edges: dict[str, bool] = field(default_factory=dict)
    fired_by: str = ""
    answer: Arrival = Arrival.OPEN


@dataclass
class CoordinationServer:
    """The store, shared by every process."""

    clock: Clock
    rng: random.Random
    claims: dict[tuple[str, str], HeldClaim] = field(default_factory=dict)
    joins: dict[tuple[str, str], JoinEntry] = field(default_factory=dict)
    activity: dict[str, int] = field(default_factory=dict)
    progressed: dict[str, int] = field(default_factory=dict)
    leases: dict[str, HeldClaim] = field(default_factory=dict)
    beats: dict[str, dict[str, tuple[int, float]]] = field(default_factory=dict)
    listeners: dict[str, list[asyncio.Queue[str]]] = field(default_factory=dict)
    hints_lost: float = 0.0

    def _live(self, place: tuple[str, str]) -> HeldClaim | None:
        claim = self.claims.get(place)
        return claim if claim is not None and claim.until > self.clock.monotonic() else None

    def held_claims(self) -> Iterator[tuple[str, str]]:
        """Places that somebody holds a live claim on."""
        return (place for place in self.claims if (claim := self._live(place)) is not None and claim.token)

    def claim(self, request: ClaimRequest) -> Claim:
        place = (request.run_id, request.key)
        live = self._live(place)
        if live is not None and live.token != request.token:
            return Claim.HELD if live.token else Claim.DONE
        self.claims[place] = HeldClaim(request.token, self.clock.monotonic() + request.lease_s)
        if live is None and request.activity:
            self._count(request.run_id, request.activity, 0)
        return Claim.CLAIMED

    def renew(self, run_id: str, keys: Sequence[str], token: str, lease_s: float) -> bool:
        kept = True
        for key in keys:
            live = self._live((run_id, key))
            if live is not None and live.token == token:
                live.until = self.clock.monotonic() + lease_s
            else:
                kept = False
        return kept

    def held(self, run_id: str, keys: Sequence[str]) -> frozenset[str]:
        found = {key: self._live((run_id, key)) for key in keys}
        return frozenset(key for key, live in found.items() if live is not None and live.token)

    def arrive(self, arrival: JoinArrival) -> tuple[Arrival, bool]:
        place = (arrival.run_id, arrival.join)
        created = place not in self.joins
        entry = self.joins.setdefault(place, JoinEntry())
        for edge, taken in arrival.states.items():
            entry.edges.setdefault(edge, taken)
        if entry.fired_by:
            return entry.answer if entry.fired_by == arrival.edge else Arrival.FIRED, created
        taken_any = any(entry.edges.values())
        if arrival.first_taken_fires and taken_any:
            entry.answer = Arrival.READY
        elif len(entry.edges) >= arrival.expected:
            entry.answer = Arrival.READY if taken_any else Arrival.DEAD
        if entry.answer is not Arrival.OPEN:
            entry.fired_by = arrival.edge
        return entry.answer, created

    def discharge(self, discharge: Discharge, channel: str) -> int:
        for key in discharge.done:
            live = self._live((discharge.run_id, key))
            if live is None or live.token in ("", discharge.token):
                until = self.clock.monotonic() + DONE_S
                self.claims[discharge.run_id, key] = HeldClaim("", until)
        for key in discharge.released:
            live = self._live((discharge.run_id, key))
            if live is not None and live.token == discharge.token:
                del self.claims[discharge.run_id, key]
        if discharge.hint:
            self.notify(channel, discharge.hint)
        return self._count(discharge.run_id, discharge.activity, discharge.progress)

    def _count(self, run_id: str, activity: int, progress: int) -> int:
        self.activity[run_id] = self.activity.get(run_id, 0) + activity
        self.progressed[run_id] = self.progressed.get(run_id, 0) + progress
        return self.activity[run_id]

    def progress(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        return {run_id: self.progressed[run_id] for run_id in run_ids if run_id in self.progressed}

    def lease(self, name: str, holder: str, lease_s: float) -> bool:
        now = self.clock.monotonic()
        lease = self.leases.get(name)
        if lease is not None and lease.until > now and lease.token != holder:
            return False
        self.leases[name] = HeldClaim(holder, now + lease_s)
        return True

    def release(self, name: str, holder: str) -> None:
        lease = self.leases.get(name)
        if lease is not None and lease.token == holder:
            del self.leases[name]

    def heartbeat(self, queue: str, worker: str, in_flight: int, ttl_s: float) -> None:
        self.beats.setdefault(queue, {})[worker] = (in_flight, self.clock.monotonic() + ttl_s)

    def heartbeats(self, queue: str) -> Mapping[str, int]:
        now = self.clock.monotonic()
        beats = self.beats.get(queue, {})
        return {worker: in_flight for worker, (in_flight, until) in beats.items() if until > now}

    def notify(self, channel: str, text: str) -> None:
        for listener in self.listeners.get(channel, ()):
            if self.rng.random() >= self.hints_lost:
                listener.put_nowait(text)

    def forget(self, run_id: str) -> None:
        for table in (self.claims, self.joins):
            for place in [place for place in table if place[0] == run_id]:
                del table[place]
        self.activity.pop(run_id, None)
        self.progressed.pop(run_id, None)

    # ---- what a store without promises may do ----

    def flush(self) -> None:
        """Everything is gone."""
        for table in (self.claims, self.joins, self.activity, self.progressed, self.leases, self.beats):
            table.clear()

    def lose_arrival(self) -> bool:
        """A failover forgot the last edge that arrived at a join which has not fired."""
        entries = [entry for entry in self.joins.values() if entry.edges and not entry.fired_by]
        if not entries:
            return False
        edges = self.rng.choice(entries).edges
        edges.pop(list(edges)[-1])
        return True

    def lose_claim(self) -> bool:
        """A claim lapsed before its time."""
        held = list(self.held_claims())
        if not held:
            return False
        del self.claims[self.rng.choice(held)]
        return True


class SimulatedCoordination:
    """A process's view of the store; implements the ``Coordination`` port."""

    def __init__(self, server: CoordinationServer, link: Link, channel: str) -> None:
        self._server = server
        self._link = link
        self._channel = channel

    async def claim(self, request: ClaimRequest) -> Claim:
        return await self._link.call(
            "coordination.claim",
            lambda: self._server.claim(request),
            lambda answer: f"{request.key}: {answer.value}",
        )

    async def renew(self, run_id: str, keys: Sequence[str], token: str, lease_s: float) -> bool:
        return await self._link.call(
            "coordination.renew",
            lambda: self._server.renew(run_id, keys, token, lease_s),
            lambda kept: f"{', '.join(keys)}{'' if kept else ' lost'}",
        )

    async def held(self, run_id: str, keys: Sequence[str]) -> frozenset[str]:
        return await self._link.call(
            "coordination.held", lambda: self._server.held(run_id, keys), lambda held: ", ".join(sorted(held))
        )

    async def arrive(self, arrival: JoinArrival) -> tuple[Arrival, bool]:
        return await self._link.call(
            "coordination.arrive",
            lambda: self._server.arrive(arrival),
            lambda answer: (
                f"{arrival.join} {dict(arrival.states)}: {answer[0].value}{' (created)' if answer[1] else ''}"
            ),
        )

    async def discharge(self, discharge: Discharge) -> int:
        channel = discharge.channel or self._channel
        return await self._link.call(
            "coordination.discharge",
            lambda: self._server.discharge(discharge, channel),
            lambda count: f"done {list(discharge.done)} released {list(discharge.released)}, {count} open",
        )

    async def progress(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        return await self._link.call("coordination.progress", lambda: self._server.progress(run_ids))

    async def lease(self, name: str, holder: str, lease_s: float) -> bool:
        return await self._link.call("coordination.lease", lambda: self._server.lease(name, holder, lease_s))

    async def release(self, name: str, holder: str) -> None:
        await self._link.call("coordination.release", lambda: self._server.release(name, holder))

    async def heartbeat(self, queue: str, worker: str, in_flight: int, ttl_s: float) -> None:
        await self._link.call(
            "coordination.heartbeat", lambda: self._server.heartbeat(queue, worker, in_flight, ttl_s)
        )

    async def heartbeats(self, queue: str) -> Mapping[str, int]:
        return await self._link.call("coordination.heartbeats", lambda: self._server.heartbeats(queue))

    async def notify(self, channel: str, text: str) -> None:
        await self._link.call(
            "coordination.notify", lambda: self._server.notify(channel, text), lambda _: text
        )

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[str]]:
        texts: asyncio.Queue[str] = asyncio.Queue()
        listeners = self._server.listeners.setdefault(channel, [])
        await self._link.call("coordination.listen", lambda: listeners.append(texts))
        heard = self._heard(texts)
        try:
            yield heard
        finally:
            listeners.remove(texts)
            await heard.aclose()

    async def _heard(self, texts: asyncio.Queue[str]) -> AsyncGenerator[str, None]:
        while True:
            text = await texts.get()
            await self._link.wait(0.0)
            yield text

    async def forget(self, run_id: str) -> None:
        await self._link.call("coordination.forget", lambda: self._server.forget(run_id))

"""What is done to workers and servers, drawn from a seed; every fault injected is counted."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from redis.asyncio import Redis
from tests.azure.cuttable import Cuttable
from tests.chaos.fleet import Fleet
from tests.chaos.servers import Servers
from tests.chaos.weather import CLEAR, Proxy, Weather

PAUSE_S: Final = (0.3, 1.5)
"""Between two events."""
STORM_S: Final = (0.5, 2.5)
FREEZE_S: Final = (0.5, 9.0)
"""Shorter and longer than a message's visibility."""


@dataclasses.dataclass
class Lines:
    """What lies between workers and servers."""

    proxies: dict[str, Proxy]
    redis: Cuttable


class Storm:
    """What happens to workers: events until it is told to end, each deck of them complete before one repeats.

    Attributes:
        events: What a deck holds, by name; a subclass adds its own.
        once: Set when everything has happened once.
    """

    def __init__(self, rng: random.Random, fleet: Fleet, counts: Counter[str]) -> None:
        self.events: dict[str, Callable[[], Awaitable[None]]] = {
            "worker killed (-9)": self._kill,
            "worker killed (-9) again": self._kill,
            "worker frozen (-STOP, -CONT)": self._freeze,
            "worker asked to leave": self._leave,
        }
        self.once = asyncio.Event()
        self._rng = rng
        self._fleet = fleet
        self._counts = counts
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[int] = set()

    async def rage(self, over: asyncio.Event) -> None:
        """One event after the other until it is over; then everything is as it should be again."""
        deck: list[str] = []
        while not over.is_set():
            if not deck:
                deck = self._rng.sample(list(self.events), len(self.events))
            await self.events[deck.pop()]()
            if not deck:
                self.once.set()
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
        await self._settled()

    async def _settled(self) -> None:
        """Wait until every worker is there again."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        for place in self._fleet.dead():
            await self._fleet.start(place)

    def _count(self, event: str) -> None:
        self._counts[event] += 1

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _place(self) -> int | None:
        """A worker that nothing happens to just now."""
        places = [place for place in range(len(self._fleet.workers)) if place not in self._busy]
        return self._rng.choice(places) if places else None

    # ---- workers ----

    async def _kill(self) -> None:
        place = self._place()
        if place is None:
            return
        self._count("worker killed (-9)")
        await self._fleet.kill(place)
        self._busy.add(place)
        self._later(self._replaced(place, self._rng.uniform(0.0, 2.0)))

    async def _replaced(self, place: int, after_s: float) -> None:
        try:
            await asyncio.sleep(after_s)
            await self._fleet.start(place)
        finally:
            self._busy.discard(place)

    async def _freeze(self) -> None:
        place = self._place()
        if place is None:
            return
        self._count("worker frozen (-STOP, -CONT)")
        self._fleet.freeze(place)
        self._busy.add(place)
        self._later(self._thawed(place, self._rng.uniform(*FREEZE_S)))

    async def _thawed(self, place: int, after_s: float) -> None:
        try:
            await asyncio.sleep(after_s)
        finally:
            self._fleet.thaw(place)
            self._busy.discard(place)

    async def _leave(self) -> None:
        place = self._place()
        if place is None:
            return
        self._count("worker asked to leave")
        self._busy.add(place)
        self._later(self._left(place))

    async def _left(self, place: int) -> None:
        try:
            await self._fleet.leave(place)
            await self._fleet.start(place)
        finally:
            self._busy.discard(place)


class ServerStorm(Storm):
    """Beside the workers: Valkey, Azurite, the Cosmos DB stand-in, and the lines to them."""

    def __init__(
        self,
        rng: random.Random,
        fleet: Fleet,
        servers: Servers,
        lines: Lines,
        counts: Counter[str],
    ) -> None:
        super().__init__(rng, fleet, counts)
        self._servers = servers
        self._proxies = lines.proxies
        self._redis_line = lines.redis
        self.events |= {
            "Valkey flushed": self._flush,
            "Valkey killed, restarted empty": self._restart_redis,
            "Valkey frozen": self._freeze_redis,
            "line to Valkey cut": self._cut_redis,
            "Azurite restarted": self._restart_azurite,
            "Cosmos DB stand-in restarted": self._restart_cosmos,
            "storm": self._weather,
            "storm again": self._weather,
        }

    async def rage(self, over: asyncio.Event) -> None:
        """As above, in bad weather all the time."""
        self._all(Weather())
        await super().rage(over)

    async def _settled(self) -> None:
        self._all(CLEAR)
        await super()._settled()

    def _all(self, weather: Weather) -> None:
        for proxy in self._proxies.values():
            proxy.weather = weather

    # ---- servers ----

    async def _flush(self) -> None:
        self._count("Valkey flushed")
        async with Redis.from_url(self._servers.connections.redis_connection_string) as redis:
            await redis.flushall()

    async def _restart_redis(self) -> None:
        self._count("Valkey killed, restarted empty")
        await self._servers.end("redis", kill=True)
        await asyncio.sleep(self._rng.uniform(0.0, 2.0))
        await self._servers.begin("redis")

    async def _freeze_redis(self) -> None:
        self._count("Valkey frozen")
        self._servers.signal("redis", signal.SIGSTOP)
        try:
            await asyncio.sleep(self._rng.uniform(0.5, 4.0))
        finally:
            self._servers.signal("redis", signal.SIGCONT)

    async def _cut_redis(self) -> None:
        self._count("line to Valkey cut")
        await self._redis_line.cut()
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        await self._redis_line.heal()

    async def _restart_azurite(self) -> None:
        self._count("Azurite restarted")
        await self._restarted("azurite-queue")

    async def _restart_cosmos(self) -> None:
        self._count("Cosmos DB stand-in restarted")
        await self._restarted("cosmos")

    async def _restarted(self, name: str) -> None:
        await self._servers.end(name)
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        await self._servers.begin(name)

    # ---- lines ----

    async def _weather(self) -> None:
        """One fault, often, before one service for a while."""
        fault = self._rng.choice(["latency", "unavailable", "throttled", "reset", "dropped"])
        proxy = self._rng.choice(list(self._proxies.values()))
        self._count(f"storm of {fault} before {proxy.name}")
        proxy.weather = dataclasses.replace(Weather(), **{fault: self._rng.uniform(0.3, 0.8)})
        await asyncio.sleep(self._rng.uniform(*STORM_S))
        proxy.weather = Weather()

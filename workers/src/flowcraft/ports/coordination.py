"""The coordination port: claims, join arrivals and notifications; losing all of it costs only time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Claim(Enum):
    """The answer to a claim."""

    CLAIMED = "claimed"
    """The caller may act on the node key now (also when its own token already held it)."""
    HELD = "held"
    """Another delivery acts on it."""
    DONE = "done"
    """Its obligation was discharged."""


class Arrival(Enum):
    """The answer to an arrival at a join."""

    OPEN = "open"
    """Not resolved yet."""
    READY = "ready"
    """Resolved by this edge, with at least one taken edge: the caller signals the node."""
    DEAD = "dead"
    """Resolved by this edge, all edges dead: the caller skips the node."""
    FIRED = "fired"
    """Resolved earlier, by another edge: nothing is to be signalled."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A claim on a node key.

    Attributes:
        run_id: The run.
        key: The node key.
        token: One per delivery, not per worker.
        lease_s: Seconds after which the claim lapses unless it is renewed.
        activity: Added to the run's count of open obligations (1 when a parked node wakes up).
    """

    run_id: str
    key: str
    token: str
    lease_s: float
    activity: int = 0


@dataclass(frozen=True, slots=True)
class JoinArrival:
    """Edges that arrive at a join.

    Attributes:
        run_id: The run.
        join: Name of the join within the run (a node key, or the end).
        edge: The edge whose arrival this is.
        states: Every edge known to be resolved, that edge included: True is taken, False is dead.
        expected: How many edges enter the join.
        first_taken_fires: An ``any`` join: ready at the first taken edge, else when all are resolved.
    """

    run_id: str
    join: str
    edge: str
    states: Mapping[str, bool]
    expected: int
    first_taken_fires: bool = False


@dataclass(frozen=True, slots=True)
class Discharge:
    """The end of a delivery's work on a run.

    Attributes:
        run_id: The run.
        done: Node keys whose obligation is discharged: their claims become ``done`` marks.
        released: Node keys whose claims are just given up.
        token: The delivery's token; claims of other tokens are left alone.
        activity: Added to the run's count of open obligations: messages sent minus those deleted or parked.
        progress: Added to the run's count of resolved node keys.
        channel: Where ``hint`` is published, as ``notify`` does; empty publishes nothing.
        hint: The text to publish.
    """

    run_id: str
    token: str
    done: Sequence[str] = ()
    released: Sequence[str] = ()
    activity: int = 0
    progress: int = 0
    channel: str = ""
    hint: str = ""


class Coordination(Protocol):
    """Leases, join arrivals and hints. Each method is atomic and costs one round trip.

    Everything raises ``BackendUnavailableError`` when the store is away: callers go on without it.
    All keys of a run share one hash tag, and all expire by themselves.
    """

    async def claim(self, request: ClaimRequest) -> Claim:
        """Try to claim a node key."""
        ...

    async def renew(self, run_id: str, keys: Sequence[str], token: str, lease_s: float) -> bool:
        """Extend claims held by the token; False when any of them is lost. Does not take lost ones back."""
        ...

    async def held(self, run_id: str, keys: Sequence[str]) -> frozenset[str]:
        """Which of the node keys somebody holds a live claim on (``done`` marks do not count)."""
        ...

    async def arrive(self, arrival: JoinArrival) -> tuple[Arrival, bool]:
        """Record arrivals at a join; the answer, and whether this call created the join's entry.

        The edge that resolved a join is told the same answer whenever it arrives again.
        """
        ...

    async def discharge(self, discharge: Discharge) -> int:
        """End a delivery's work; gives the run's count of open obligations (a hint: facts decide)."""
        ...

    async def progress(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """Resolved node keys counted so far, of those runs that have a count."""
        ...

    async def lease(self, name: str, holder: str, lease_s: float) -> bool:
        """Take or renew a named lease; False while another holder has it."""
        ...

    async def release(self, name: str, holder: str) -> None:
        """Give up a named lease if the holder has it."""
        ...

    async def heartbeat(self, queue: str, worker: str, in_flight: int, ttl_s: float) -> None:
        """Tell that a worker of the queue lives and holds so many messages; a ttl of 0 takes it off."""
        ...

    async def heartbeats(self, queue: str) -> Mapping[str, int]:
        """Messages in flight by living worker of the queue."""
        ...

    async def notify(self, channel: str, text: str) -> None:
        """Publish to whoever listens on the channel now; nobody listening is no error."""
        ...

    def listen(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Texts published on the channel while the context is open; gaps are possible, never an error.

        When the store goes away the iterator waits and goes on when it is back.
        """
        ...

    async def forget(self, run_id: str) -> None:
        """Drop all keys of a run."""
        ...


def hint_channel(queue_name: str) -> str:
    """The channel of a queue's hints: the id of a run whose header changed, after ``+`` if signalled too."""
    return f"runs:{queue_name}"

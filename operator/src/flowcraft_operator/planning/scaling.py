"""How many workers a pool needs, from the depth of its queue. Pure; time is given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from flowcraft_api.worker_pool import WorkerPoolSpec


@dataclass(frozen=True, slots=True)
class Measured:
    """The depth of a queue that could be measured.

    Attributes:
        visible: Messages that can be received now.
        exact: Whether that is all of them; otherwise there are at least so many.
        in_flight: Messages that workers hold; None if that is not known.
        delayed: Messages that wait for their time; None if that is not known. They need no worker.
        oldest_visible: Since when the oldest visible message could have been received.
    """

    visible: int
    exact: bool
    in_flight: int | None
    delayed: int | None = None
    oldest_visible: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """The depth could not be measured, and why; it is never taken for zero."""

    reason: str


QueueMeasurement = Measured | Unmeasured


@dataclass(frozen=True, slots=True)
class Need:
    """So many workers were needed at that moment."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """What scaling remembers from one look at the queue to the next.

    Attributes:
        since: Since when every look is remembered; looking begins anew where a measurement failed.
        needs: Needs within the cooldown that no later need outdid: times ascend, replicas descend.
    """

    since: datetime | None = None
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """The number of workers there should be.

    Attributes:
        replicas: The number.
        memory: To be given back at the next look.
        held: Why the number does not follow the queue now; empty if it does.
    """

    replicas: int
    memory: ScalingMemory
    held: str = ""


def plan_replicas(
    spec: WorkerPoolSpec, measurement: QueueMeasurement, current: int, memory: ScalingMemory, now: datetime
) -> ReplicaPlan:
    """Follow the queue: up at once, down when fewer workers were enough for the whole cooldown.

    Args:
        spec: The pool: limits, jobs for each worker, cooldown.
        measurement: The depth of its queue.
        current: The number of workers asked for so far.
        memory: What the last plan remembered.
        now: The present.

    Returns:
        A number within the pool's limits; changed limits hold at once. Delayed messages never count.
    """
    if isinstance(measurement, Unmeasured):
        return ReplicaPlan(_within(spec, current), ScalingMemory(), measurement.reason)
    needed = needed_replicas(spec, measurement)
    if measurement.in_flight is None and needed < current:
        # The messages that the workers hold are not known: more may be needed than seen, never less.
        return ReplicaPlan(
            _within(spec, current), ScalingMemory(), "the number of messages in flight is unknown"
        )
    remembered = _remembered(memory, Need(now, needed), spec.scaling.cooldown.seconds)
    if needed >= current:
        return ReplicaPlan(needed, remembered)
    cooldown = timedelta(seconds=spec.scaling.cooldown.seconds)
    if remembered.since is None or now - remembered.since < cooldown:
        return ReplicaPlan(_within(spec, current), remembered)
    enough = max(need.replicas for need in remembered.needs)
    return ReplicaPlan(_within(spec, min(enough, current)), remembered)


def needed_replicas(spec: WorkerPoolSpec, measured: Measured) -> int:
    """Workers for the jobs seen now, within the limits; an idle pool needs its minimum."""
    jobs = measured.visible + (measured.in_flight or 0)
    return _within(spec, -(-jobs // spec.jobs_per_replica))


def _within(spec: WorkerPoolSpec, replicas: int) -> int:
    # The API server refuses min > max; where it slipped through, never exceed the maximum.
    return min(max(replicas, spec.scaling.min_replicas), spec.scaling.max_replicas)


def _remembered(memory: ScalingMemory, need: Need, cooldown_s: float) -> ScalingMemory:
    oldest = need.at - timedelta(seconds=cooldown_s)
    kept = tuple(each for each in memory.needs if each.at >= oldest and each.replicas > need.replicas)
    return ScalingMemory(memory.since or need.at, (*kept, need))

"""What a pool is to look like, and what is to be said about it. Pure; time is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from flowcraft_api.conditions import Condition, ConditionStatus, condition, condition_of, merge_conditions
from flowcraft_api.durations import human_duration
from flowcraft_api.pool_status import (
    FlowcraftWorkerPoolStatus,
    LastReconciliation,
    QueueStatus,
    RunCounts,
)
from flowcraft_api.worker_pool import WorkerPoolSpec
from flowcraft_operator.planning.notices import Notice
from flowcraft_operator.planning.pods import WorkerProblem
from flowcraft_operator.planning.scaling import (
    Measured,
    QueueMeasurement,
    ScalingMemory,
    Unmeasured,
    plan_replicas,
)

FIGURES_EVERY: Final = timedelta(seconds=10)
"""Figures alone are worth a write of the status at most this often."""


@dataclass(frozen=True, slots=True)
class BackendHealth:
    """Whether the pool's services answer.

    Attributes:
        reachable: Queue and facts answer; None before it was tried.
        reason: A condition's reason.
        message: The cause, and what to do.
        coordination: Why Redis does not answer; empty if it does. Runs go on without it.
    """

    reachable: bool | None = None
    reason: str = "NotTriedYet"
    message: str = "The backend has not been asked yet."
    coordination: str = ""


REACHABLE: Final = BackendHealth(True, "Reachable", "Queue, facts and coordination answer.")


@dataclass(frozen=True, slots=True)
class DeploymentSeen:
    """The pool's Deployment as it is.

    Attributes:
        wanted: `spec.replicas`.
        replicas: Pods there are.
        ready: Pods that are ready.
        problem: Why its own controller cannot make pods, for example a quota; empty if it can.
    """

    wanted: int
    replicas: int
    ready: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PoolObserved:
    """What was seen of a pool.

    Attributes:
        queue_name: The queue that it resolves to.
        selector: The label selector of its pods.
        generation: `metadata.generation`.
        measurement: The depth of its queue.
        health: Of its backend.
        deployment: Its Deployment; None where there is none yet.
        problem: What keeps its workers from running.
        obstacle: What makes the pool itself unusable: another has its queue, or its spec cannot be built.
        runs: Counts of its runs.
        last_reconciliation: What the last search for stalled runs did.
        previous: The status that was written last.
        written_at: When that was, if it was by this process.
        memory: Of scaling.
    """

    queue_name: str
    selector: str
    generation: int | None
    measurement: QueueMeasurement = field(default_factory=lambda: Unmeasured("not measured yet"))
    health: BackendHealth = field(default_factory=BackendHealth)
    deployment: DeploymentSeen | None = None
    problem: WorkerProblem | None = None
    obstacle: WorkerProblem | None = None
    runs: RunCounts | None = None
    last_reconciliation: LastReconciliation | None = None
    previous: FlowcraftWorkerPoolStatus | None = None
    written_at: datetime | None = None
    memory: ScalingMemory = field(default_factory=ScalingMemory)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do about a pool.

    Attributes:
        replicas: The number of workers there should be.
        memory: Of scaling, for the next plan.
        status: The new status.
        write: Whether it is to be written now.
        notices: Events.
    """

    replicas: int
    memory: ScalingMemory
    status: FlowcraftWorkerPoolStatus
    write: bool
    notices: tuple[Notice, ...] = ()


def plan_pool(spec: WorkerPoolSpec | None, observed: PoolObserved, now: datetime) -> PoolPlan:
    """Decide how many workers there should be, and what the status says.

    A pool whose spec cannot be read (None), or whose queue is another's, gets no worker. What is unknown
    holds the number of workers.
    """
    current = observed.deployment.wanted if observed.deployment else 0
    if spec is None or observed.obstacle is not None:
        replicas, memory = 0, ScalingMemory()
        held = observed.obstacle.message if observed.obstacle else "the spec cannot be read"
    else:
        plan = plan_replicas(spec, observed.measurement, current, observed.memory, now)
        replicas, memory, held = plan.replicas, plan.memory, plan.held
    previous = observed.previous or FlowcraftWorkerPoolStatus()
    conditions = [
        _ready(observed, replicas, now),
        _backend_reachable(observed, now),
        _scaling_active(observed, held, now),
    ]
    status = FlowcraftWorkerPoolStatus(
        observed_generation=observed.generation,
        conditions=merge_conditions(previous.conditions, conditions),
        replicas=observed.deployment.replicas if observed.deployment else 0,
        ready_replicas=observed.deployment.ready if observed.deployment else 0,
        desired_replicas=replicas,
        selector=observed.selector,
        runs=observed.runs or previous.runs,
        queue=_queue(observed, now),
        last_reconciliation=observed.last_reconciliation or previous.last_reconciliation,
    )
    return PoolPlan(
        replicas=replicas,
        memory=memory,
        status=status,
        write=_worth_writing(observed, status, now),
        notices=tuple(_notices(previous, status)),
    )


def wants_pods(deployment: DeploymentSeen | None) -> bool:
    """Whether the pods are worth a look: there should be workers, and not all are ready."""
    return deployment is not None and max(deployment.wanted, deployment.replicas) > deployment.ready


def _ready(observed: PoolObserved, replicas: int, now: datetime) -> Condition:
    def say(status: ConditionStatus, reason: str, message: str) -> Condition:
        return _condition(observed, "Ready", (status, reason, message), now)

    seen, health = observed.deployment, observed.health
    if (problem := _most_urgent(observed)) is not None:
        return say("False", problem.reason, problem.message)
    if health.reachable is None:
        return say("Unknown", health.reason, health.message)
    if replicas == 0:
        return say("True", "Idle", "There is nothing to do; the pool starts workers when there is.")
    ready = seen.ready if seen else 0
    if ready == 0:
        before = condition_of((observed.previous or FlowcraftWorkerPoolStatus()).conditions, "Ready")
        # A pool that scales up from zero is not broken: it was ready to take work, and takes it.
        status: Literal["True", "False"] = "True" if before and before.status == "True" else "False"
        return say(status, "Starting", f"{replicas} workers are starting.")
    return say("True", "WorkersReady", f"{ready} of {replicas} workers are ready.")


def _most_urgent(observed: PoolObserved) -> WorkerProblem | None:
    """What keeps the pool from its work: the pool itself, then its backend, then its workers."""
    if observed.obstacle is not None:
        return observed.obstacle
    if observed.health.reachable is False:
        return WorkerProblem(observed.health.reason, observed.health.message)
    if observed.problem is None and observed.deployment is not None and observed.deployment.problem:
        return WorkerProblem("WorkersNotCreated", observed.deployment.problem)
    return observed.problem


def _backend_reachable(observed: PoolObserved, now: datetime) -> Condition:
    health = observed.health
    said: tuple[ConditionStatus, str, str]
    if health.reachable is None:
        said = ("Unknown", health.reason, health.message)
    elif not health.reachable:
        said = ("False", health.reason, health.message)
    elif health.coordination:
        said = ("False", "CoordinationUnreachable", f"Runs go on, more slowly: {health.coordination}")
    else:
        said = ("True", health.reason, health.message)
    return _condition(observed, "BackendReachable", said, now)


def _scaling_active(observed: PoolObserved, held: str, now: datetime) -> Condition:
    said: tuple[ConditionStatus, str, str]
    if observed.obstacle is not None:
        said = ("False", observed.obstacle.reason, held)
    elif held:
        said = ("False", "QueueDepthUnknown", f"The number of workers is held: {held}")
    else:
        said = ("True", "FollowingQueue", "The number of workers follows the queue.")
    return _condition(observed, "ScalingActive", said, now)


def _condition(
    observed: PoolObserved, name: str, said: tuple[ConditionStatus, str, str], now: datetime
) -> Condition:
    return condition(name, *said, generation=observed.generation, now=now)


def _queue(observed: PoolObserved, now: datetime) -> QueueStatus:
    measured = observed.measurement
    if isinstance(measured, Unmeasured):
        return QueueStatus.unknown(observed.queue_name, measured.reason)
    age = measured.oldest_visible
    return QueueStatus.known(
        observed.queue_name,
        visible=measured.visible,
        at_least=not measured.exact,
        in_flight=measured.in_flight,
        delayed=measured.delayed,
        oldest_message_age=human_duration(max((now - age).total_seconds(), 0.0)) if age else None,
    )


def measured_depth(
    visible: int, *, exact: bool, total: int, in_flight: int | None, oldest_visible: datetime | None
) -> Measured:
    """A measurement with what follows from its parts: what is neither visible nor in flight is delayed."""
    delayed = None if in_flight is None or not exact else max(total - visible - in_flight, 0)
    return Measured(visible, exact, in_flight, delayed, oldest_visible)


def _worth_writing(observed: PoolObserved, status: FlowcraftWorkerPoolStatus, now: datetime) -> bool:
    before = observed.previous
    if before == status:
        return False
    if before is None or _significant(before) != _significant(status):
        return True
    return observed.written_at is None or now - observed.written_at >= FIGURES_EVERY


def _significant(status: FlowcraftWorkerPoolStatus) -> Sequence[object]:
    return (
        status.observed_generation,
        status.replicas,
        status.ready_replicas,
        status.desired_replicas,
        status.selector,
        tuple((each.type, each.status, each.reason) for each in status.conditions),
    )


def _notices(before: FlowcraftWorkerPoolStatus, after: FlowcraftWorkerPoolStatus) -> Sequence[Notice]:
    notices = []
    if before.desired_replicas is not None and before.desired_replicas != after.desired_replicas:
        change = f"Workers wanted: {before.desired_replicas} -> {after.desired_replicas}"
        notices.append(Notice("Scaled", change))
    ready, was = condition_of(after.conditions, "Ready"), condition_of(before.conditions, "Ready")
    if ready is not None and ready.status == "False" and ready.reason not in {was and was.reason, "Starting"}:
        notices.append(Notice(ready.reason, ready.message, "Warning"))
    reachable, reached = (condition_of(each.conditions, "BackendReachable") for each in (after, before))
    if reachable and reached and reached.status == "False" and reachable.status == "True":
        notices.append(Notice("BackendReachable", "The backend answers again."))
    return notices

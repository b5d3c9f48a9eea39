"""What to do next about a WorkflowRun, and what its status says. Pure; time is given.

A plan names at most one step. Whoever carries it out gives what came of it to the next plan, until a plan
has no step: so every decision is made on what is known, and a crash between two steps loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from flowcraft_api.conditions import condition_of
from flowcraft_api.run_status import (
    BACKEND_UNREACHABLE,
    CANCELLED,
    DECIDED,
    SPEC_CHANGE_IGNORED,
    UNKNOWN_DECISION,
    RunObstacle,
    run_status,
)
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument
from flowcraft_api.workflow_run import WorkflowRunSpec, WorkflowRunStatus
from flowcraft_operator.planning.notices import Notice
from flowcraft_operator.planning.run_steps import (
    AddFinalizer,
    Cancel,
    Decide,
    ReadHeader,
    RemoveFinalizer,
    Resume,
    Start,
    Step,
    Suspend,
)
from flowcraft_operator.planning.run_writing import WRITE_EVERY, run_notices, write_due_at

DELETION_GRACE: Final = timedelta(seconds=60)
"""How long a deletion waits for an unreachable backend to take the cancellation, by default."""
LOST_AFTER: Final = timedelta(seconds=60)
"""How long the facts of an accepted run must have been gone until they count as lost."""
DECIDE_AGAIN_AFTER: Final = timedelta(seconds=60)
"""A decision whose effect is not seen by then is given again, which is harmless."""
LISTED_IN_HEADER: Final = 50
"""Waiting nodes that a header lists; further ones may wait without being seen."""
MISSING_RECHECK_S: Final = 15.0
UNREACHABLE_RECHECK_S: Final = 15.0
DELETION_RECHECK_S: Final = 5.0
SETTLING_RECHECK_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known beside spec and header.

    Attributes:
        run_id: The run's id: the uid of its resource.
        generation: `metadata.generation`.
        has_finalizer: The operator's finalizer is set.
        deleting_since: When the deletion was asked for.
        previous: The status that was written last.
        pool_problem: Why the pool cannot take or steer the run now; None if it can.
        workers_problem: Why no worker of the pool runs; the run is accepted and steered all the same.
        settling: That is not certain yet: the operator has just started, or the pool is being connected.
        header_known: The header was looked for, whatever was found.
        missing_since: Since when an accepted run's header is not found.
        failure: Why the last step failed.
        decided: Node keys that were decided by this process, and when.
        drift: What of the spec differs from what the run pinned, where that was compared.
        misdirected: Decisions of the spec that cannot be meant, by node key, and why not; they are not given.
        written_at: When the status was written last by this process.
        deletion_grace: How long a deletion may wait for the backend.
        display_every: How often DURATION and PROGRESS may be written.
    """

    run_id: str
    generation: int | None
    has_finalizer: bool = False
    deleting_since: datetime | None = None
    previous: WorkflowRunStatus | None = None
    pool_problem: RunObstacle | None = None
    workers_problem: RunObstacle | None = None
    settling: bool = False
    header_known: bool = False
    missing_since: datetime | None = None
    failure: RunObstacle | None = None
    decided: Mapping[str, datetime] = field(default_factory=dict)
    drift: RunObstacle | None = None
    misdirected: Mapping[str, str] = field(default_factory=dict)
    written_at: datetime | None = None
    deletion_grace: timedelta = DELETION_GRACE
    display_every: timedelta = WRITE_EVERY

    @property
    def accepted(self) -> bool:
        """Whether the run is known to have been taken into the backend."""
        found = condition_of(self.previous.conditions, "Accepted") if self.previous else None
        return found is not None and found.status == "True"

    @property
    def ended(self) -> bool:
        """Whether the status that was written last is final."""
        return self.previous is not None and self.previous.phase.is_final


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to do about a run.

    Attributes:
        step: What to do first; then plan again.
        status: The status to write now, if any; only where there is no step.
        release: After that, take the finalizer off.
        look_again_s: Seconds after which to plan again, whatever happens.
        notices: Events.
    """

    step: Step | None = None
    status: WorkflowRunStatus | None = None
    release: bool = False
    look_again_s: float | None = None
    notices: tuple[Notice, ...] = ()


def plan_run(spec: WorkflowRunSpec, header: HeaderDocument | None, facts: RunFacts, now: datetime) -> RunPlan:
    """Decide the next step of a run.

    Args:
        spec: What is wanted.
        header: The newest known header, or a projection of it.
        facts: What is known beside them.
        now: The present.
    """
    if facts.deleting_since is not None:
        return _plan_deletion(header, facts, now)
    if facts.settling and not facts.ended:
        return RunPlan(look_again_s=SETTLING_RECHECK_S)
    if header is None:
        step, obstacles, look_again_s = _without_header(spec, facts, now)
    elif header.get("status") in TERMINAL_STATUSES:
        step, obstacles, look_again_s = None, _beside_header(header, facts), None
    else:
        step = _steering(spec, header, facts, now)
        obstacles, look_again_s = _beside_header(header, facts), None
        if facts.failure is not None:
            look_again_s = UNREACHABLE_RECHECK_S
    if step is not None:
        return RunPlan(step=step)
    status = run_status(
        header,
        spec,
        facts.previous,
        now=now,
        run_id=facts.run_id,
        generation=facts.generation,
        obstacles=obstacles,
    )
    return _with_status(facts, status, look_again_s, now)


def _with_status(
    facts: RunFacts, status: WorkflowRunStatus, look_again_s: float | None, now: datetime
) -> RunPlan:
    due_at = write_due_at(facts.previous, status, facts.written_at, now, display_every=facts.display_every)
    write = due_at is not None and due_at <= now and facts.previous != status
    if due_at is not None and not write:
        wait_s = (due_at - now).total_seconds()
        look_again_s = wait_s if look_again_s is None else min(look_again_s, wait_s)
    final = status.phase.is_final
    return RunPlan(
        status=status if write else None,
        release=final and facts.has_finalizer,
        look_again_s=None if final and (write or due_at is None) else look_again_s,
        notices=tuple(run_notices(facts.previous, status)) if write else (),
    )


def _without_header(
    spec: WorkflowRunSpec, facts: RunFacts, now: datetime
) -> tuple[Step | None, list[RunObstacle], float | None]:
    """The next step of a run that has no known header, or what is in its way."""
    if facts.ended:
        return None, [], None
    if (obstacle := _obstacle(spec, facts)) is not None:
        # Whoever brings a pool into order looks at its waiting runs at once; a failed step is tried again.
        wait_s = None if obstacle.final or facts.pool_problem is not None else UNREACHABLE_RECHECK_S
        return None, [obstacle], wait_s
    if not facts.accepted:
        return (Start() if facts.has_finalizer else AddFinalizer()), [], None
    return _lost(facts, now) if facts.header_known else (ReadHeader(), [], None)


def _obstacle(spec: WorkflowRunSpec, facts: RunFacts) -> RunObstacle | None:
    """What keeps a run without header from its next step."""
    if spec.cancel and not facts.accepted:
        return RunObstacle(CANCELLED, "The run was cancelled before it was started.", final=True)
    if facts.failure is not None and facts.failure.final:
        return facts.failure
    return facts.pool_problem or facts.failure


def _lost(facts: RunFacts, now: datetime) -> tuple[Step | None, list[RunObstacle], float | None]:
    """An accepted run without a header is never started again: it may have run to its end."""
    if facts.missing_since is not None and now - facts.missing_since >= LOST_AFTER:
        message = (
            "The facts of the run are no longer in the backend: they were deleted by retention or by hand, "
            "or the pool now names another backend. How the run ended is not known."
        )
        return None, [RunObstacle("FactsLost", message, final=True)], None
    waiting = RunObstacle("FactsNotFound", "The backend does not know the run; it is looked for again.")
    return None, [waiting], MISSING_RECHECK_S


def _beside_header(header: HeaderDocument, facts: RunFacts) -> list[RunObstacle]:
    """What users must know beside the header, the most important first."""
    obstacles = []
    if header.get("status") not in TERMINAL_STATUSES:
        if facts.pool_problem is not None:
            obstacles.append(facts.pool_problem)
        elif facts.failure is not None:
            obstacles.append(facts.failure)
        elif facts.workers_problem is not None and header.get("status") == "running":
            obstacles.append(facts.workers_problem)
        elif facts.misdirected and not header.get("reason"):
            told = "; ".join(facts.misdirected.values())
            obstacles.append(RunObstacle(UNKNOWN_DECISION, f"spec.decisions: {told}"))
    drift = facts.drift or _drift_before(header, facts)
    return [*obstacles, drift] if drift is not None else obstacles


def _drift_before(header: HeaderDocument, facts: RunFacts) -> RunObstacle | None:
    """What was found when spec and header were compared, as long as the spec has not changed since."""
    if "input" in header or facts.previous is None or facts.previous.observed_generation != facts.generation:
        return None
    accepted = condition_of(facts.previous.conditions, "Accepted")
    if accepted is None or accepted.reason != SPEC_CHANGE_IGNORED:
        return None
    return RunObstacle(SPEC_CHANGE_IGNORED, accepted.message)


def _steering(spec: WorkflowRunSpec, header: HeaderDocument, facts: RunFacts, now: datetime) -> Step | None:
    """What spec asks of an active run and the header does not show yet."""
    if not facts.has_finalizer:
        return AddFinalizer()
    if facts.pool_problem is not None or facts.failure is not None:
        return None
    if spec.cancel:
        return Cancel()
    if spec.suspend != (header.get("status") == "paused"):
        return Suspend() if spec.suspend else Resume()
    return _decision(spec, header, facts, now)


def _decision(spec: WorkflowRunSpec, header: HeaderDocument, facts: RunFacts, now: datetime) -> Decide | None:
    """The first answer that a node waits for; the others are kept until theirs does."""
    listed = header.get("awaiting") or []
    waiting = {each.get("nodeKey") for each in listed if each.get("kind") in DECIDED}
    subflows = tuple(f"{each.get('nodeKey')}/" for each in listed if each.get("kind") == "run")
    for decision in spec.decisions:
        if decision.node_key in facts.misdirected:
            continue
        given_at = facts.decided.get(decision.node_key)
        if given_at is not None and now - given_at < DECIDE_AGAIN_AFTER:
            continue
        inside = decision.node_key.startswith(subflows)  # the client knows whether it waits there yet
        if decision.node_key in waiting or inside or len(listed) >= LISTED_IN_HEADER:
            return Decide(decision)
    return None


def _plan_deletion(header: HeaderDocument | None, facts: RunFacts, now: datetime) -> RunPlan:
    """Cancel the run, then let the resource go; it never waits longer than the grace."""
    if not facts.has_finalizer:
        return RunPlan()
    if facts.ended or (header is not None and header.get("status") in TERMINAL_STATUSES):
        return RunPlan(step=RemoveFinalizer())
    if header is None and facts.header_known:
        return RunPlan(step=RemoveFinalizer())
    if facts.pool_problem is None and facts.failure is None:
        return RunPlan(step=ReadHeader() if header is None else Cancel())
    if facts.deleting_since is not None and now - facts.deleting_since >= facts.deletion_grace:
        cause = facts.pool_problem or facts.failure
        message = (
            f"The run {facts.run_id} may go on in the backend: its cancellation could not be delivered "
            f"within {facts.deletion_grace.total_seconds():.0f} s ({cause.message if cause else 'no answer'})"
        )
        return RunPlan(step=RemoveFinalizer(), notices=(Notice("CancelNotDelivered", message, "Warning"),))
    return RunPlan(look_again_s=DELETION_RECHECK_S)


def unreachable(message: str) -> RunObstacle:
    """The obstacle of a run whose backend does not answer."""
    return RunObstacle(BACKEND_UNREACHABLE, message)

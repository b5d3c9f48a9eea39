"""From a run's header to what users see of it: phase, conditions and the rest of `.status`.

A pure function, used by the operator for WorkflowRuns and by the command line for every run. Its inputs are
the header (the facts), the spec (what is wanted), the previous status (for times of transition), and
obstacles: what the caller saw beside the header, such as a pool that does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args

from flowcraft_api.conditions import Condition, ConditionStatus, condition, condition_of, merge_conditions
from flowcraft_api.durations import elapsed
from flowcraft_api.timestamps import parse_instant
from flowcraft_api.wire import AwaitingDocument, HeaderDocument, NodeErrorDocument
from flowcraft_api.workflow_run import (
    MAX_LISTED,
    MAX_NODE_KEY_LENGTH,
    AwaitingNode,
    NodeFailure,
    PinnedBlueprint,
    RunPhase,
    WorkflowRunSpec,
    WorkflowRunStatus,
)

MAX_OUTPUT_BYTES = 8 * 1024
"""A larger output is not mirrored into the status: the API server keeps every version of it in etcd."""

BACKEND_UNREACHABLE = "BackendUnreachable"
POOL_NOT_FOUND = "PoolNotFound"
POOL_NOT_READY = "PoolNotReady"
BLUEPRINT_NOT_FOUND = "BlueprintNotFound"
BLUEPRINT_INVALID = "BlueprintInvalid"
INPUT_TOO_LARGE = "InputTooLarge"
NO_WORKER_FOR_VERSION = "NoWorkerForVersion"
SPEC_CHANGE_IGNORED = "SpecChangeIgnored"
UNKNOWN_DECISION = "UnknownDecision"
NOT_TAKEN_ON = "NotTakenOn"
"""The run was accepted, and no worker has pinned its blueprint yet."""
CANCELLED = "Cancelled"
INVALID_SPEC = "InvalidSpec"

PHASE_OF_STATUS: Mapping[str, RunPhase] = {
    "running": RunPhase.RUNNING,
    "awaiting": RunPhase.AWAITING,
    "paused": RunPhase.SUSPENDED,
    "completed": RunPhase.SUCCEEDED,
    "failed": RunPhase.FAILED,
    "cancelled": RunPhase.CANCELLED,
}

DECIDED = ("wait", "webhook")
"""Kinds of waiting node that a decision answers."""
_AWAITING_KINDS = frozenset(get_args(AwaitingNode.model_fields["kind"].annotation))


@dataclass(frozen=True, slots=True)
class RunObstacle:
    """Something beside the header that keeps a run from moving, or that its owner must know.

    Attributes:
        reason: one CamelCase word, a condition's reason; this module names the usual ones.
        message: a sentence that says what is wrong and what to do.
        final: the run can never be accepted: it ends Failed (or Cancelled, by the reason of that name).
        Only looked
            at while there is no header; once there is one, the facts alone say how a run ends.
    """

    reason: str
    message: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class _View:
    """What all parts of a status are computed from."""

    header: HeaderDocument | None
    spec: WorkflowRunSpec | None
    previous: WorkflowRunStatus
    now: datetime
    generation: int | None
    obstacles: Sequence[RunObstacle] = field(default=())


def run_status(
    header: HeaderDocument | None,
    spec: WorkflowRunSpec | None,
    previous: WorkflowRunStatus | None = None,
    *,
    now: datetime,
    run_id: str | None = None,
    generation: int | None = None,
    obstacles: Sequence[RunObstacle] = (),
) -> WorkflowRunStatus:
    """What users see of a run.

    Args:
        header: the run's header or a projection of it; None if there is none, or none could be read.
        spec: the WorkflowRun's spec; None for a run that no resource stands for.
        previous: the status computed last, for transition times and for what cannot be read now.
        now: the present, aware.
        run_id: the id of the run; by default the header's.
        generation: `metadata.generation` of the WorkflowRun.
        obstacles: what the caller saw beside the header, the most important first.

    Returns:
        The whole new status. Without a header, a run that was seen to end stays as it was seen (its facts
        may have been deleted by retention), and so does an active one whose header cannot be read now.
    """
    view = _View(header, spec, previous or WorkflowRunStatus(), now.astimezone(UTC), generation, obstacles)
    if header is not None:
        status = _with_header(view, header)
    elif view.previous.phase.is_final or (_was_accepted(view.previous) and not _refused(view)):
        status = _carried_on(view)
    else:
        status = _without_header(view)
    return status.model_copy(
        update={
            "run_id": run_id or (header or {}).get("runId") or view.previous.run_id,
            "observed_generation": generation,
            "conditions": merge_conditions(view.previous.conditions, status.conditions),
        }
    )


def differs_only_in_display(one: WorkflowRunStatus | None, other: WorkflowRunStatus) -> bool:
    """Whether two statuses differ in nothing but DURATION and PROGRESS, not worth a write of their own."""
    if one is None:
        return False
    unshown = {"duration": None, "progress": None}
    return one.model_copy(update=unshown) == other.model_copy(update=unshown)


def _with_header(view: _View, header: HeaderDocument) -> WorkflowRunStatus:
    phase = PHASE_OF_STATUS.get(header.get("status", ""), RunPhase.RUNNING)
    started = parse_instant(header.get("startedAt"))
    finished = parse_instant(header.get("finishedAt")) if phase.is_final else None
    output = header.get("output") if phase is RunPhase.SUCCEEDED else None
    omitted = _omitted(output)
    return WorkflowRunStatus(
        phase=phase,
        conditions=[
            _accepted(view, header),
            _succeeded(view, phase, header, omitted),
            _finished(view, phase, header),
        ],
        blueprint=_blueprint(view, header),
        started_at=started,
        finished_at=finished,
        duration=_duration(view, phase, started, finished),
        progress=_progress(header) or view.previous.progress,
        deadline_at=parse_instant(header.get("deadlineAt")),
        output=None if omitted else output,
        awaiting=[] if phase.is_final else _awaiting(header),
        failures=_failures(header),
    )


def _was_accepted(previous: WorkflowRunStatus) -> bool:
    found = condition_of(previous.conditions, "Accepted")
    return previous.phase is not RunPhase.PENDING or (found is not None and found.status == "True")


def _without_header(view: _View) -> WorkflowRunStatus:
    """Nothing is known in the backend: pending, or refused for good."""
    refusal = next((obstacle for obstacle in view.obstacles if obstacle.final), None)
    if refusal is None:
        phase = RunPhase.PENDING
    else:
        phase = RunPhase.CANCELLED if refusal.reason == CANCELLED else RunPhase.FAILED
    return WorkflowRunStatus(
        phase=phase,
        conditions=[_accepted(view, None), _succeeded(view, phase, {}), _finished(view, phase, {})],
        blueprint=_blueprint(view, {}),
        finished_at=view.now if phase.is_final else None,
    )


def _carried_on(view: _View) -> WorkflowRunStatus:
    """The previous status, because nothing newer is known; an active run says why."""
    if view.previous.phase.is_final:
        return view.previous
    succeeded = _succeeded(view, view.previous.phase, {})
    kept = [succeeded if each.type == "Succeeded" else each for each in view.previous.conditions]
    return view.previous.model_copy(update={"conditions": kept})


def _refused(view: _View) -> bool:
    return any(obstacle.final for obstacle in view.obstacles)


def _accepted(view: _View, header: HeaderDocument | None) -> Condition:
    """Whether the run has been taken into the backend; with a header it has."""
    if header is not None:
        if (drift := _drift(view, header)) is not None:
            return _condition(view, "Accepted", "True", SPEC_CHANGE_IGNORED, drift)
        return _condition(view, "Accepted", "True", "Accepted", "The run was taken into the backend.")
    if not view.obstacles:
        return _condition(view, "Accepted", "Unknown", "Pending", "The run has not been started yet.")
    first = next((obstacle for obstacle in view.obstacles if obstacle.final), view.obstacles[0])
    status: ConditionStatus = "Unknown" if first.reason == BACKEND_UNREACHABLE else "False"
    return _condition(view, "Accepted", status, first.reason, first.message)


def _succeeded(
    view: _View, phase: RunPhase, header: HeaderDocument, output_omitted: str | None = None
) -> Condition:
    """The summary: Unknown while the run is active, with the reason why it does not move."""
    first = next((each for each in view.obstacles if each.reason != SPEC_CHANGE_IGNORED), None)
    message = header.get("message") or ""
    if phase is RunPhase.SUCCEEDED:
        return _condition(view, "Succeeded", "True", "Completed", output_omitted or "The run is complete.")
    if phase.is_final:
        final = next((obstacle for obstacle in view.obstacles if obstacle.final), None)
        if not header and final is not None:
            return _condition(view, "Succeeded", "False", final.reason, final.message)
        return _condition(
            view, "Succeeded", "False", _end_reason(phase, header), message or _end_message(header)
        )
    if first is not None:
        return _condition(view, "Succeeded", "Unknown", first.reason, first.message)
    return _condition(
        view,
        "Succeeded",
        "Unknown",
        header.get("reason") or (NOT_TAKEN_ON if _is_untaken(phase, header) else phase.value),
        message or _active_message(phase, header),
    )


def _finished(view: _View, phase: RunPhase, header: HeaderDocument) -> Condition:
    status: ConditionStatus = "True" if phase.is_final else "False"
    return _condition(view, "Finished", status, phase.value, "The run has ended." if phase.is_final else "")


def _condition(view: _View, name: str, status: ConditionStatus, reason: str, message: str) -> Condition:
    return condition(name, status, reason, message, generation=view.generation, now=view.now)


def _end_reason(phase: RunPhase, header: HeaderDocument) -> str:
    return header.get("reason") or (CANCELLED if phase is RunPhase.CANCELLED else "NodeFailed")


def _end_message(header: HeaderDocument) -> str:
    failures = _failures(header)
    return f"Node {failures[0].node_key} failed: {failures[0].error}" if failures else ""


def _active_message(phase: RunPhase, header: HeaderDocument) -> str:
    """What an active run is doing, as a sentence."""
    if phase is RunPhase.AWAITING and (waiting := header.get("awaiting")):
        keys = [str(each.get("nodeKey")) for each in waiting]
        shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        asked = [key for key, each in zip(keys, waiting, strict=True) if each.get("kind") in DECIDED]
        hint = f"; answer with spec.decisions or `flowcraft decide` for {asked[0]}" if asked else ""
        return f"Waiting at {shown}{hint}."
    if phase is RunPhase.SUSPENDED:
        return "The run is suspended; go on with spec.suspend: false, or off a cluster `flowcraft resume`."
    if phase is RunPhase.PENDING:
        return "The run has not been started yet."
    return "No worker has taken the run on yet." if _is_untaken(phase, header) else ""


def _is_untaken(phase: RunPhase, header: HeaderDocument) -> bool:
    """Whether the run is in the backend and nobody has pinned its blueprint yet."""
    return phase is RunPhase.RUNNING and not header.get("blueprintHash")


def _drift(view: _View, header: HeaderDocument) -> str | None:
    """The CRD and the admission policy refuse a changed input; where they are missing, say what runs."""
    seen = next((each.message for each in view.obstacles if each.reason == SPEC_CHANGE_IGNORED), None)
    if seen or view.spec is None or not isinstance(header.get("input"), Mapping):
        return seen  # a projection holds no input: whoever compared it says what was found
    if header["input"] == view.spec.input:
        return None
    return (
        "spec.input was changed after the run was accepted; the run keeps the input that it started with. "
        "Delete the run and apply it again to run with the new one."
    )


def _blueprint(view: _View, header: HeaderDocument) -> PinnedBlueprint | None:
    source = view.spec.blueprint if view.spec is not None else None
    wanted = source.name if source is not None else None
    if source is not None and source.inline is not None:
        inline_id = source.inline.get("id")
        wanted = _text(inline_id, 253)
    before = view.previous.blueprint
    name = _text(header.get("blueprintId"), 253) or wanted or (before.name if before else None)
    version = _text(header.get("blueprintVersion"), 128) or (source.version if source is not None else None)
    if name is None and version is None:
        return None
    return PinnedBlueprint(name=name, version=version, hash=_text(header.get("blueprintHash"), 128))


def _duration(
    view: _View, phase: RunPhase, started: datetime | None, finished: datetime | None
) -> str | None:
    if started is None:
        return None
    end = finished if phase.is_final else view.now
    return elapsed((end - started).total_seconds()) if end is not None else view.previous.duration


def _progress(header: HeaderDocument) -> str | None:
    progress = header.get("progress")
    if not progress or "done" not in progress or "total" not in progress:
        return None
    return f"{progress['done']}/{progress['total']}"[:32]


def _omitted(output: Any) -> str | None:
    """Why an output is not mirrored, or None if it is small enough."""
    size = len(json.dumps(output, default=str, ensure_ascii=False).encode()) if output is not None else 0
    if size <= MAX_OUTPUT_BYTES:
        return None
    return f"The run is complete. Its output of {size} bytes is not shown here; `flowcraft get` prints it."


def _awaiting(header: HeaderDocument) -> list[AwaitingNode]:
    return [_awaiting_node(each) for each in (header.get("awaiting") or [])[:MAX_LISTED]]


def _awaiting_node(document: AwaitingDocument) -> AwaitingNode:
    kind = document.get("kind", "wait")
    return AwaitingNode(
        node_key=_text(document.get("nodeKey"), MAX_NODE_KEY_LENGTH) or "",
        kind=kind if kind in _AWAITING_KINDS else "wait",
        since=parse_instant(document.get("since")),
        until=parse_instant(document.get("until")),
        run_id=_text(document.get("runId"), 255) or None,
        address=_text(document.get("address"), 2048) or None,
    )


def _failures(header: HeaderDocument) -> list[NodeFailure]:
    return [_failure(each) for each in (header.get("errors") or [])[:MAX_LISTED]]


def _failure(document: NodeErrorDocument) -> NodeFailure:
    attempt = document.get("attempt")
    return NodeFailure(
        node_key=_text(document.get("nodeKey"), MAX_NODE_KEY_LENGTH) or "",
        type=_text(document.get("type"), 253),
        error=_text(document.get("message"), 1024) or "",
        attempt=max(attempt, 0) if isinstance(attempt, int) else None,
        at=parse_instant(document.get("at")),
    )


def _text(value: object, max_length: int) -> str | None:
    """A text out of a stored document, as long as the status may hold it; None for what is no text."""
    return value[:max_length] or None if isinstance(value, str) else None


def reason_of(status: WorkflowRunStatus) -> str | None:
    """Why a run is in its state: the reason of its summary condition."""
    summary = condition_of(status.conditions, "Succeeded")
    return summary.reason if summary is not None else None

"""When a run's status is worth a write, and what of it is worth an Event. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from flowcraft_api.conditions import condition_of
from flowcraft_api.run_status import NOT_TAKEN_ON, UNKNOWN_DECISION, differs_only_in_display, reason_of
from flowcraft_api.workflow_run import RunPhase, WorkflowRunStatus
from flowcraft_operator.planning.notices import Notice

WRITE_EVERY: Final = timedelta(seconds=10)
"""Whatever is no change of phase or condition is written at most this often for each run."""
DISPLAY_WRITES_PER_S: Final = 5.0
"""DURATION and PROGRESS of all runs together cost about so many writes at most: many runs share them."""
DURATION_GROWTH: Final = 0.1
"""DURATION alone is written anew when it grew by this share: a run that waits for days costs few writes."""


def write_due_at(
    previous: WorkflowRunStatus | None,
    status: WorkflowRunStatus,
    written_at: datetime | None,
    now: datetime,
    *,
    display_every: timedelta = WRITE_EVERY,
) -> datetime | None:
    """When a status is to be written: now, later, or (None) never as it is.

    Args:
        previous: What was written last.
        status: What would be written now.
        written_at: When something was written last; None if not by this process.
        now: The present.
        display_every: How often what is only for display may be written for each run.
    """
    if previous == status:
        return _display_due_at(status, now, now, display_every)
    if previous is None or _state(previous) != _state(status):
        return now
    if differs_only_in_display(previous, status):
        if previous.progress == status.progress:
            return _display_due_at(status, written_at or now, now, display_every)
        return (written_at or now) + display_every
    return now if written_at is None else max(now, written_at + WRITE_EVERY)


def run_notices(previous: WorkflowRunStatus | None, status: WorkflowRunStatus) -> Iterator[Notice]:
    """Events of a change: a new phase, every new obstacle, and why no worker takes the run on."""
    before = previous.phase if previous is not None else None
    if status.phase is not before and status.phase not in (RunPhase.PENDING, RunPhase.RUNNING):
        yield _ending(status) if status.phase.is_final else _pausing(status)
    if status.phase.is_final:
        return
    why = reason_of(status) or ""
    waits = status.phase in (RunPhase.PENDING, RunPhase.RUNNING) or why == UNKNOWN_DECISION
    if waits and why not in {status.phase.value, NOT_TAKEN_ON}:
        known = previous is not None and reason_of(previous) == why
        if not known:
            yield _hindered(status)
    after = condition_of(status.conditions, "Accepted")
    earlier = condition_of(previous.conditions, "Accepted") if previous is not None else None
    if after is None or after.reason in {"Pending", "Accepted", why}:
        return
    if earlier is None or earlier.reason != after.reason:
        yield Notice(after.reason, after.message, "Warning")


def _state(status: WorkflowRunStatus) -> Sequence[object]:
    """What is told at once when it changes."""
    conditions = tuple((each.type, each.status, each.reason) for each in status.conditions)
    return (status.phase, conditions, status.observed_generation, status.run_id)


def display_interval(active: int) -> timedelta:
    """How often DURATION and PROGRESS may be written for each of so many active runs."""
    return max(WRITE_EVERY, timedelta(seconds=active / DISPLAY_WRITES_PER_S))


def _display_due_at(
    status: WorkflowRunStatus, since: datetime, now: datetime, display_every: timedelta
) -> datetime | None:
    """When DURATION alone is worth a write; never for a run that has ended or waits to begin."""
    if status.started_at is None or status.phase.is_final:
        return None
    return since + max(display_every, (now - status.started_at) * DURATION_GROWTH)


def _ending(status: WorkflowRunStatus) -> Notice:
    summary = condition_of(status.conditions, "Succeeded")
    message = summary.message if summary is not None else ""
    if status.phase is RunPhase.SUCCEEDED:
        took = f" in {status.duration}" if status.duration else ""
        return Notice("Succeeded", f"The run is complete{took}.")
    return Notice(
        reason_of(status) or status.phase.value, message or f"The run is {status.phase.value}.", "Warning"
    )


def _hindered(status: WorkflowRunStatus) -> Notice:
    summary = condition_of(status.conditions, "Succeeded")
    assert summary is not None  # noqa: S101  it has a reason
    return Notice(summary.reason, summary.message, "Warning")


def _pausing(status: WorkflowRunStatus) -> Notice:
    summary = condition_of(status.conditions, "Succeeded")
    return Notice(status.phase.value, summary.message if summary is not None else "")

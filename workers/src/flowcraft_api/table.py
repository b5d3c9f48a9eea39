"""The tables of `kubectl get`, made without kubectl: the same columns, cells and ages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flowcraft_api.conditions import condition_of
from flowcraft_api.durations import human_duration
from flowcraft_api.pool_status import FlowcraftWorkerPoolStatus
from flowcraft_api.resources import FlowcraftWorkerPool, ResourceDefinition, WorkflowRun
from flowcraft_api.workflow_run import WorkflowRunStatus


def column_names(definition: ResourceDefinition) -> list[str]:
    """The heading of the table: NAME, then the columns that `kubectl get` shows without `-o wide`."""
    return ["NAME", *(column.name.upper() for column in definition.columns if column.priority == 0)]


RUN_COLUMNS: Sequence[str] = tuple(column_names(WorkflowRun.definition))
POOL_COLUMNS: Sequence[str] = tuple(column_names(FlowcraftWorkerPool.definition))


def table_row(
    name: str, pool: str, status: WorkflowRunStatus, *, created_at: datetime | None, now: datetime
) -> list[str]:
    """The cells of a run below RUN_COLUMNS; what is not known is empty, as kubectl has it."""
    return [
        name,
        pool,
        (status.blueprint.name if status.blueprint else None) or "",
        status.phase.value,
        status.progress or "",
        status.duration or "",
        _age(created_at, now),
    ]


def pool_table_row(
    name: str, status: FlowcraftWorkerPoolStatus, *, created_at: datetime | None, now: datetime
) -> list[str]:
    """The cells of a pool below POOL_COLUMNS; what is not known is empty, as kubectl has it."""
    ready = condition_of(status.conditions, "Ready")
    return [
        name,
        ready.status if ready else "",
        _figure(status.replicas),
        _figure(status.desired_replicas),
        (status.queue.summary if status.queue else None) or "",
        _figure(status.runs.running if status.runs else None),
        _age(created_at, now),
    ]


def _figure(value: int | None) -> str:
    return "" if value is None else str(value)


def _age(created_at: datetime | None, now: datetime) -> str:
    return "<unknown>" if created_at is None else human_duration((now - created_at).total_seconds())

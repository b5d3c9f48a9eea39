"""The tables of `kubectl get`, printed without kubectl: the same columns, widths and ages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from flowcraft_api.conditions import condition_of
from flowcraft_api.durations import human_duration
from flowcraft_api.pool_status import FlowcraftWorkerPoolStatus
from flowcraft_api.resources import FlowcraftWorkerPool, ResourceDefinition, WorkflowRun
from flowcraft_api.workflow_run import WorkflowRunStatus

_MIN_WIDTH = 6
_PADDING = 3


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


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table as kubectl does: columns of at least six characters with three blanks between them.

    The last column is not padded. Returns lines without a final newline.
    """
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [
        max(_MIN_WIDTH, max(len(line[i]) for line in lines) + _PADDING) for i in range(len(columns) - 1)
    ]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1]
        for line in lines
    )


def _figure(value: int | None) -> str:
    return "" if value is None else str(value)


def _age(created_at: datetime | None, now: datetime) -> str:
    return "<unknown>" if created_at is None else human_duration((now - created_at).total_seconds())

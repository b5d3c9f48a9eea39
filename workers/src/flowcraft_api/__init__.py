"""The API of Flowcraft's two Kubernetes resources, and the form in which a run's header is stored.

Only pydantic and the standard library are imported here, so that the operator, the command line and the
workers can share it: the models are the single source of the custom resource definitions, and what a run's
state looks like to a user is computed here, by pure functions, for all of them.
"""

from __future__ import annotations

from flowcraft_api.conditions import Condition, condition_of, merge_condition
from flowcraft_api.durations import Duration, compact_duration, human_duration
from flowcraft_api.manifest import ManifestError, parse_worker_pool, parse_workflow_run
from flowcraft_api.pool_status import (
    FlowcraftWorkerPoolStatus,
    LastReconciliation,
    QueueStatus,
    RunCounts,
)
from flowcraft_api.resources import API_VERSION, FlowcraftWorkerPool, WorkflowRun
from flowcraft_api.run_status import RunObstacle, differs_only_in_display, run_status
from flowcraft_api.table import format_table, pool_table_row, table_row
from flowcraft_api.wire import HeaderDocument
from flowcraft_api.worker_pool import WorkerPoolSpec, queue_name
from flowcraft_api.workflow_run import RunPhase, WorkflowRunSpec, WorkflowRunStatus

__all__ = [
    "API_VERSION",
    "Condition",
    "Duration",
    "FlowcraftWorkerPool",
    "FlowcraftWorkerPoolStatus",
    "HeaderDocument",
    "LastReconciliation",
    "ManifestError",
    "QueueStatus",
    "RunCounts",
    "RunObstacle",
    "RunPhase",
    "WorkerPoolSpec",
    "WorkflowRun",
    "WorkflowRunSpec",
    "WorkflowRunStatus",
    "compact_duration",
    "condition_of",
    "differs_only_in_display",
    "format_table",
    "human_duration",
    "merge_condition",
    "parse_worker_pool",
    "parse_workflow_run",
    "pool_table_row",
    "queue_name",
    "run_status",
    "table_row",
]

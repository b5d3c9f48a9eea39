"""The table without kubectl is the table of kubectl."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flowcraft_api.conditions import condition
from flowcraft_api.pool_status import FlowcraftWorkerPoolStatus, QueueStatus, RunCounts
from flowcraft_api.table import POOL_COLUMNS, RUN_COLUMNS, pool_table_row, table_row
from flowcraft_api.workflow_run import PinnedBlueprint, RunPhase, WorkflowRunStatus
from flowcraft_cli.tables import format_table

NOW = datetime(2026, 1, 31, 8, 0, 10, tzinfo=UTC)
CREATED = NOW - timedelta(seconds=10)


def test_runs_are_printed_as_promised() -> None:
    order = PinnedBlueprint(name="order", version="1")
    done = WorkflowRunStatus(phase=RunPhase.SUCCEEDED, blueprint=order, progress="4/4", duration="1.2s")
    waits = WorkflowRunStatus(phase=RunPhase.AWAITING, blueprint=order, progress="2/4", duration="8s")
    rows = [
        table_row("order-1001", "orders", done, created_at=CREATED, now=NOW),
        table_row("order-1002", "orders", waits, created_at=CREATED, now=NOW),
    ]
    assert format_table(RUN_COLUMNS, rows).splitlines() == [
        "NAME         POOL     BLUEPRINT   STATUS      PROGRESS   DURATION   AGE",
        "order-1001   orders   order       Succeeded   4/4        1.2s       10s",
        "order-1002   orders   order       Awaiting    2/4        8s         10s",
    ]


def test_pools_are_printed_as_promised() -> None:
    ready = condition("Ready", "True", "Ready", generation=1, now=NOW)
    status = FlowcraftWorkerPoolStatus(
        conditions=[ready],
        replicas=2,
        desired_replicas=3,
        queue=QueueStatus.known("shop-orders", visible=41),
        runs=RunCounts(running=17),
    )
    row = pool_table_row("orders", status, created_at=NOW - timedelta(minutes=5), now=NOW)
    assert format_table(POOL_COLUMNS, [row]).splitlines() == [
        "NAME     READY   REPLICAS   DESIRED   QUEUE   RUNNING   AGE",
        "orders   True    2          3         41      17        5m",
    ]


def test_what_is_not_known_is_blank_and_never_zero() -> None:
    empty = FlowcraftWorkerPoolStatus(queue=QueueStatus.unknown("q", "the storage account does not answer"))
    assert pool_table_row("p", empty, created_at=None, now=NOW) == [
        "p",
        "",
        "",
        "",
        "unknown",
        "",
        "<unknown>",
    ]
    assert table_row("r", "p", WorkflowRunStatus(), created_at=NOW, now=NOW) == [
        "r", "p", "", "Pending", "", "", "0s",
    ]  # fmt: skip


def test_a_depth_of_which_only_the_first_messages_were_seen_says_so() -> None:
    assert QueueStatus.known("q", visible=32, at_least=True).summary == "32+"

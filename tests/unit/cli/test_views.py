"""What commands print of a run, computed from its header alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flowcraft.distributed.client import RunNotFoundError
from flowcraft_api.wire import HeaderDocument
from flowcraft_cli.local_run import moves
from flowcraft_cli.views import RunView

NOW = datetime(2026, 1, 31, 8, 0, 10, tzinfo=UTC)
HEADER: HeaderDocument = {
    "id": "one",
    "runId": "one",
    "name": "order-1001",
    "pool": "orders",
    "status": "completed",
    "blueprintId": "order",
    "blueprintVersion": "1",
    "input": {"amount": 42},
    "output": {"ship": {"shipped": True}},
    "createdAt": "2026-01-31T08:00:00.000Z",
    "startedAt": "2026-01-31T08:00:01.000Z",
    "finishedAt": "2026-01-31T08:00:02.200Z",
    "progress": {"done": 4, "total": 4},
}


def changed(**fields: object) -> HeaderDocument:
    return HeaderDocument(**{**HEADER, **fields})  # type: ignore[typeddict-item]


def test_a_row_is_that_of_kubectl() -> None:
    view = RunView.of(HEADER, NOW)

    assert view.cells() == ["order-1001", "orders", "order", "Succeeded", "4/4", "1.2s", "10s"]
    assert view.cells(wide=True)[-3:] == ["1", "Completed", "one"]


def test_a_run_without_manifest_goes_by_its_id() -> None:
    view = RunView.of({"id": "two", "status": "running"}, NOW)

    assert view.name == "two"
    assert view.document()["metadata"]["name"] == "two"


def test_the_document_is_a_workflow_run_with_the_whole_output() -> None:
    large = {"ship": "x" * 20_000}
    document = RunView.of(changed(output=large), NOW).document()

    assert document["kind"] == "WorkflowRun"
    assert document["spec"]["input"] == {"amount": 42}
    assert document["status"]["output"] == large


def test_conditions_carry_the_times_of_the_header() -> None:
    conditions = RunView.of(HEADER, NOW).document()["status"]["conditions"]

    assert {each["type"]: each["lastTransitionTime"] for each in conditions} == {
        "Accepted": "2026-01-31T08:00:00Z",
        "Succeeded": "2026-01-31T08:00:02Z",
        "Finished": "2026-01-31T08:00:02Z",
    }


def test_a_waiting_run_says_how_it_is_answered() -> None:
    blueprint = {
        "nodes": [],
        "edges": [
            {"source": "approve", "target": "ship", "action": "approved"},
            {"source": "approve", "target": "tell", "action": "refused"},
        ],
    }
    waiting = changed(
        status="awaiting", blueprint=blueprint, awaiting=[{"nodeKey": "approve", "kind": "wait"}]
    )

    advice = RunView.of(waiting, NOW).advice

    assert advice == (
        "waits at approve; answer with `flowcraft decide order-1001 approve --action approved|refused`"
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "running"}, True),
        ({"status": "running", "reason": "BlueprintUnknown"}, False),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "wait"}]}, False),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "sleep"}]}, True),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "retry"}]}, True),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "webhook"}]}, False),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "children"}]}, True),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "run", "runId": "waits"}]}, False),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "run", "runId": "ended"}]}, True),
        ({"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "run", "runId": "new"}]}, True),
        ({"status": "paused"}, False),
        ({"status": "completed"}, False),
        ({"status": "cancelled"}, False),
    ],
)
async def test_what_goes_on_by_itself(fields: dict[str, object], expected: bool) -> None:
    async def read(run_id: str) -> HeaderDocument:
        if run_id == "new":
            raise RunNotFoundError
        waits: Any = {"status": "awaiting", "awaiting": [{"nodeKey": "a", "kind": "webhook"}]}
        ended: Any = {"status": "completed"}
        return {"waits": changed(**waits), "ended": changed(**ended)}[run_id]

    assert await moves(changed(**fields), read) is expected

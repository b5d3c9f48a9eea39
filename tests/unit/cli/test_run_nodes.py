"""Node keys as people see them: rows, bars, many of a kind as one row, and one in full."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowcraft.blueprint import Blueprint
from flowcraft.embedded import open_embedded
from flowcraft.ports import Commit, ContextWrite
from flowcraft.records import NodeRecord
from flowcraft_cli.backend import open_backend
from flowcraft_cli.commands.describe import continues
from flowcraft_cli.node_rows import in_full, note_of, rows
from flowcraft_cli.run_nodes import NodeInputs, NodeView, folded, in_order, read_nodes
from flowcraft_cli.settings import Settings
from flowcraft_cli.timeline import WIDTH, bars

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


def view(
    key: str, status: Any, started: int | None = None, finished: int | None = None, **more: Any
) -> NodeView:
    def at(second: int | None) -> str:
        return "" if second is None else f"2026-01-01T00:00:{second:02}Z"

    node = key.partition("[")[0].partition("#")[0]
    record = NodeRecord(key, node, status, started_at=at(started), finished_at=at(finished), **more)
    return NodeView(key, node, status, record)


def test_bars_show_when_each_node_worked_within_the_run() -> None:
    nodes = [
        view("a", "completed", 0, 30),
        view("b", "failed", 30, 45),
        view("c", "awaiting", 45),
        view("d", "skipped", None, 30),
        NodeView("e", "e", "queued"),
    ]
    half, quarter = WIDTH // 2, WIDTH // 4
    assert bars(nodes, NOW) == [
        "=" * half + "." * half,
        "." * half + "x" * quarter + "." * quarter,
        "." * (half + quarter) + "~" * quarter,
        "",
        "",
    ]
    assert bars([], NOW) == []
    assert bars([view("a", "completed", 5, 5)], NOW) == ["=" + "." * (WIDTH - 1)]


def test_what_only_waited_is_not_drawn_as_work() -> None:
    nodes = [
        view("charge", "completed", 0, 15),
        replace(view("approve", "completed", 15, 45), waits=True),
        replace(view("sign", "failed", 45, 60), waits=True),
        replace(view("review", "awaiting", 45), status="cancelled"),
    ]
    quarter, half = WIDTH // 4, WIDTH // 2
    assert bars(nodes, NOW) == [
        "=" * quarter + "." * (half + quarter),
        "." * quarter + "~" * half + "." * quarter,
        "." * (half + quarter) + "~" * (quarter - 1) + "x",
        "." * (half + quarter) + "~" * quarter,
    ]


def test_children_stand_together_by_their_index_where_the_first_of_them_ended() -> None:
    nodes = [
        view("resize[10]", "completed", 1, 2),
        view("resize[9]", "completed", 1, 5),
        view("first", "completed", 0, 1),
        view("other", "completed", 1, 3),
        view("resize[2]", "completed", 1, 6),
        view("plan[b]", "completed", 1, 4),
        view("plan[a]", "completed", 1, 7),
        view("resize#2[1]", "completed", 7, 8),
        view("resize", "awaiting", 1),
    ]
    found = in_order({node.key: node.record for node in nodes if node.record is not None})
    assert [record.key for record in found] == [
        *("first", "resize", "resize[2]", "resize[9]", "resize[10]"),
        *("other", "plan[b]", "plan[a]", "resize#2[1]"),
    ]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("running", [("pay", "completed"), ("approve", "awaiting"), ("ship", "queued")]),
        ("cancelled", [("pay", "completed"), ("approve", "cancelled"), ("ship", "cancelled")]),
        ("failed", [("pay", "completed"), ("approve", "unfinished"), ("ship", "unfinished")]),
        ("completed", [("pay", "completed"), ("approve", "awaiting")]),
    ],
)
async def test_nodes_that_had_not_ended_when_their_run_did_are_shown(
    tmp_path: Path, status: Any, told: list[tuple[str, str]]
) -> None:
    inline = {
        "id": "order",
        "nodes": [
            {"id": "pay", "uses": "pay"},
            {"id": "approve", "uses": "wait"},
            {"id": "ship", "uses": "ship"},
        ],
        "edges": [{"source": "pay", "target": "approve"}, {"source": "pay", "target": "ship"}],
    }
    settings = Settings.read(backend="embedded", db=tmp_path / "runs.db")
    async with open_backend(settings, create=True) as backend:
        pay = view("pay", "completed", 0, 1, taken=(0, 1)).record
        approve = view("approve", "awaiting", 2, kind="wait").record
        assert pay is not None
        assert approve is not None
        await backend.facts.commit("r", Commit(create=[pay, approve]))
        header: Any = {"id": "r", "runId": "r", "status": status, "blueprint": inline}
        found = await read_nodes(backend, header)
    assert [(node.key, node.status) for node in found.nodes] == told
    assert [node.key for node in found.nodes if node.waits] == ["approve"]
    if status == "cancelled":
        assert {note_of(node) for node in found.nodes[1:]} == {"had not ended when the run did"}


def test_what_a_run_goes_on_with_otherwise_is_said() -> None:
    document: Any = {"runId": "r", "nodes": [], "count": 2, "asked": "1", "patch": {"set": {"rate": 1}}}
    assert continues(document) == "run r, retried, with context changed: rate; 2 node keys taken over"
    assert continues(document, other_input=True) == (
        "run r, retried, with another input and context changed: rate; 2 node keys taken over"
    )
    document["patch"] = {}
    assert continues(document, other_input=True) == (
        "run r, retried, with another input; 2 node keys taken over"
    )


def test_many_children_or_rounds_are_a_row_for_each_state_and_failures_stand_alone() -> None:
    children = [view(f"resize[{place}]", "completed", 0, 1) for place in range(20)]
    children += [NodeView(f"resize[{place}]", "resize", "running") for place in range(20, 23)]
    failed = view(
        "resize[23]", "failed", 0, 1, error={"type": "ValueError", "message": "m", "line": "a:1 in b"}
    )
    few = [view(f"check#{place}", "completed", 1, 2) for place in range(1, 4)]
    shown = folded([view("resize", "awaiting", 0), *children, failed, *few])
    assert [(each.key, each.status, each.count) for each in shown] == [
        ("resize", "awaiting", 1),
        ("resize (20 children)", "completed", 20),
        ("resize (3 children)", "running", 3),
        ("resize[23]", "failed", 1),
        ("check#1", "completed", 1),
        ("check#2", "completed", 1),
        ("check#3", "completed", 1),
    ]
    assert [row[6] for row in rows(shown, NOW)][3] == "ValueError: m (a:1 in b)"


def test_a_node_that_runs_says_its_progress() -> None:
    running = NodeView("train", "train", "running", progress=(3, 12))
    assert [row[:2] + row[6:] for row in rows([running], NOW)] == [["train", "running", "3/12 (25 %)"]]


def test_what_is_waited_for_is_said() -> None:
    waits: list[tuple[dict[str, Any], str]] = [
        ({"kind": "wait"}, "waits for a decision: flowcraft decide"),
        ({"kind": "webhook", "waits_for": {"address": "https://x/y"}}, "waits for a call of https://x/y"),
        ({"kind": "run", "waits_for": {"runId": "r-1"}}, "waits for run r-1"),
        ({"kind": "children"}, "waits for its children"),
        ({"kind": "sleep", "wake_at": "2026-01-02T00:00:00Z"}, "until 2026-01-02T00:00:00Z"),
        ({"kind": "wait", "decision": {"action": "x"}}, "decided, about to go on"),
    ]
    assert [note_of(view("n", "awaiting", 0, **fields)) for fields, _ in waits] == [told for _, told in waits]


def test_a_fallback_that_stood_in_is_said() -> None:
    stood_in = view("pay", "completed", 0, 2, attempt=4, fallback=True)
    assert note_of(stood_in) == "by its fallback"
    assert "Attempts:   4, the last by its fallback" in list(in_full(stood_in, None, None))


def test_one_node_key_in_full() -> None:
    error = {"type": "ValueError", "message": "too much", "line": "shop:7 in pay", "cause": "OSError: away"}
    failed = view("pay#2", "failed", 0, 2, attempt=3, worker="w", error=error, wrote=("total",))
    assert list(in_full(failed, {"amount": 1}, None)) == [
        "Node:       pay#2",
        "Status:     failed",
        "Took:       2s",
        "Attempts:   3",
        "Started:    2026-01-01T00:00:00Z",
        "Finished:   2026-01-01T00:00:02Z",
        "Worker:     w",
        "Context:    total",
        'Input:      {"amount": 1}',
        "Error:      ValueError: too much",
        "Raised at:  shop:7 in pay",
        "After:      OSError: away",
    ]


async def test_inputs_do_not_show_a_field_of_the_runs_input_that_was_deleted() -> None:
    blueprint = Blueprint.from_dict(
        {
            "id": "flow",
            "nodes": [
                {"id": "a", "uses": "code"},
                {"id": "b", "uses": "code", "inputs": {"gone": "amount", "kept": "currency"}},
            ],
            "edges": [{"source": "a", "target": "b"}],
        }
    )
    header: Any = {"id": "r", "runId": "r", "input": {"amount": 42, "currency": "EUR"}}
    nodes = [view("a", "completed", 0, 1), view("b", "completed", 1, 2)]
    async with open_embedded(":memory:", "orders") as backend:
        deleted = [ContextWrite("amount", deleted=True)]
        records = [node.record for node in nodes if node.record is not None]
        await backend.facts.commit("r", Commit(create=records, context=deleted))
        shown: Any = backend  # of a backend, it reads the facts
        inputs = await NodeInputs(shown, header, blueprint).of(nodes[1:], nodes)
    assert inputs == {"b": {"gone": None, "kept": "EUR"}}

"""Loops in runs in memory: what runs in which round, with which values, and how they end."""

from __future__ import annotations

from typing import Any

from flowcraft import FlowRuntime, NodeContext, NodeResult
from flowcraft.blueprint import Blueprint
from flowcraft.engine.plan import Plan
from flowcraft.memory.result import RunResult


def counting(condition: str, **more: Any) -> dict[str, Any]:
    """A loop as upstream's builder writes it: start -> body -> controller -> start, and out to ``done``."""
    return {
        "id": "counting",
        "nodes": [
            {"id": "first", "uses": "first"},
            {"id": "body", "uses": "count", "config": {"joinStrategy": "any"}},
            {
                "id": "turn",
                "uses": "loop-controller",
                "params": {"condition": condition, **more},
                "config": {"joinStrategy": "any"},
            },
            {"id": "done", "uses": "keep"},
        ],
        "edges": [
            {"source": "turn", "target": "done", "action": "break", "transform": 'context["body"]'},
            {"source": "first", "target": "body"},
            {"source": "body", "target": "turn"},
            {"source": "turn", "target": "body", "action": "continue", "transform": 'context["body"]'},
        ],
    }


async def first(_: NodeContext) -> int:
    return 0


async def count(ctx: NodeContext) -> NodeResult:
    number = ctx.input + 1
    await ctx.context.set("count", number)
    return NodeResult(number)


async def keep(ctx: NodeContext) -> Any:
    return ctx.input


async def run(document: dict[str, Any], input: Any = None, **code: Any) -> RunResult:  # noqa: A002
    runtime = FlowRuntime(registry={"first": first, "count": count, "keep": keep, **code})
    return await runtime.run(Blueprint.from_dict(document), input)


def ran(result: RunResult) -> list[str]:
    return [key for key, record in result.records.items() if record.status == "completed"]


async def test_upstreams_loop_runs_as_it_is() -> None:
    result = await run(counting("count < 3"))
    assert result.status == "completed"
    assert ran(result) == [
        "first",
        *("body#1", "turn#1", "body#2", "turn#2", "body#3", "turn#3"),
        "done",
    ]
    assert result.output == {"done": 3}
    assert [result.records[f"turn#{number}"].action for number in (1, 2, 3)] == [
        "continue",
        "continue",
        "break",
    ]


async def test_a_loop_that_goes_on_for_ever_fails() -> None:
    result = await run(counting("count > 0", maxIterations=20))
    assert result.status == "failed"
    assert [(error["nodeKey"], error["type"]) for error in result.errors] == [("turn#20", "LoopWithoutEnd")]
    assert "20 rounds" in result.errors[0]["message"]


async def test_a_condition_that_cannot_be_evaluated_fails_the_controller() -> None:
    result = await run(counting("count < 'x'"))
    assert [(error["nodeKey"], error["type"]) for error in result.errors] == [("turn#1", "EvaluationError")]


async def test_a_loop_on_a_branch_that_is_not_taken_is_skipped_once() -> None:
    document = counting("count < 3")
    document["edges"][1]["action"] = "never"
    result = await run(document)
    assert result.status == "completed"
    assert {key: record.status for key, record in result.records.items()} == {
        "first": "completed",
        "body#1": "skipped",
        "turn#1": "skipped",
        "done": "skipped",
    }
    assert result.output == {}


def test_unless_something_else_is_said_ten_thousand_rounds_are_the_guard() -> None:
    (loop,) = Plan.of(Blueprint.from_dict(counting("true"))).loops.values()
    assert (loop.head, loop.turner, loop.max_rounds) == ("body", "turn", 10_000)


def accumulating() -> dict[str, Any]:
    """Nested loops; ``sum`` reads its own last output, ``late`` what comes after it in the round."""
    return {
        "id": "nested",
        "nodes": [
            {"id": "outer", "uses": "mark"},
            {"id": "inner", "uses": "mark"},
            {"id": "sum", "uses": "seen", "inputs": {"own": "sum", "late": "late", "outer": "outer"}},
            {"id": "late", "uses": "mark"},
            {"id": "again", "uses": "twice"},
            {"id": "after", "uses": "seen", "inputs": {"late": "late", "sum": "_outputs.sum", "out": "out"}},
            {"id": "out", "uses": "twice"},
            {"id": "end", "uses": "seen", "inputs": {"after": "after", "late": "late", "inner": "inner"}},
        ],
        "edges": [
            {"source": "outer", "target": "inner"},
            {"source": "inner", "target": "sum"},
            {"source": "sum", "target": "late"},
            {"source": "late", "target": "again"},
            {"source": "again", "target": "inner", "action": "again"},
            {"source": "again", "target": "after", "action": "out"},
            {"source": "after", "target": "out"},
            {"source": "out", "target": "outer", "action": "again"},
            {"source": "out", "target": "end", "action": "out"},
        ],
        "metadata": {"cycleEntryPoints": ["outer"]},
    }


async def test_names_mean_the_own_round_else_the_latest_before_it_and_outside_the_last_one() -> None:
    async def mark(ctx: NodeContext) -> str:
        return ctx.node_key

    async def seen(ctx: NodeContext) -> Any:
        return {name: value if isinstance(value, str) else "…" for name, value in ctx.input.items() if value}

    async def twice(ctx: NodeContext) -> NodeResult:
        return NodeResult(ctx.node_key, "out" if ctx.node_key.endswith("2") else "again")

    result = await run(accumulating(), mark=mark, seen=seen, twice=twice)
    assert result.status == "completed"
    outputs = {key: record.output for key, record in result.records.items()}
    assert outputs["sum#1.1"] == {"outer": "outer#1"}
    assert outputs["sum#1.2"] == {"own": "…", "late": "late#1.1", "outer": "outer#1"}
    assert outputs["sum#2.1"] == {"own": "…", "late": "late#1.2", "outer": "outer#2"}
    assert outputs["after#1"] == {"late": "late#1.2", "sum": "…"}
    assert outputs["after#2"] == {"late": "late#2.2", "sum": "…", "out": "out#1"}
    assert outputs["end"] == {"after": "…", "late": "late#2.2", "inner": "inner#2.2"}

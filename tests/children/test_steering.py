"""Runs with children are cancelled, retried, answered and gone on with like any others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.children.runs import SETTINGS, place
from tests.children.test_batch import Run, app

from flowcraft import App, FlowRuntime, NodeContext, NodeResult
from flowcraft.memory.result import Decision


async def test_children_are_told_when_one_of_them_fails_the_run(run: Run) -> None:
    told: list[Any] = []
    started = asyncio.Event()

    async def work(ctx: NodeContext) -> Any:
        if ctx.input == "broken":
            await started.wait()
            raise ValueError("no")
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append(ctx.input)
            raise

    ended = await run(app(work), "flow", {"items": ["slow", "broken"]})
    assert ended.status == "failed"
    assert told == ["slow"]
    assert "b_scatter" not in [error["nodeKey"] for error in ended.errors]


async def test_a_cancelled_run_ends_its_children() -> None:
    told = asyncio.Event()
    started = asyncio.Event()

    async def work(_ctx: NodeContext) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.set()
            raise

    async with place(app(work)) as here:
        run_id = await here.start("flow", {"items": [1]})
        await started.wait()
        await here.client.cancel(run_id)
        async with asyncio.timeout(10):
            await told.wait()
        ended = await here.ended(run_id)
    assert ended.status == "cancelled"


async def test_a_retry_runs_the_children_that_are_missing_alone() -> None:
    seen: list[Any] = []
    broken = {"b"}

    async def work(ctx: NodeContext) -> Any:
        seen.append(ctx.input)
        if ctx.input in broken:
            raise ValueError("not today")
        return ctx.input.upper()

    async with place(app(work, concurrency=1)) as here:
        run_id = await here.start("flow", {"items": ["a", "b", "c"]})
        assert (await here.ended(run_id)).status == "failed"
        assert seen == ["a", "b"]
        broken.clear()
        again = await here.client.retry(run_id)
        ended = await here.ended(again.document["runId"], "results")
    assert (ended.status, ended.context["results"]) == ("completed", ["A", "B", "C"])
    assert seen == ["a", "b", "b", "c"]


def waiting() -> App:
    made = App("waiting")

    @made.node("make")
    async def make(_ctx: NodeContext) -> NodeResult:
        return NodeResult(
            "made", dynamic_nodes=[{"id": "ask", "uses": "wait"}, {"id": "too", "uses": "wait"}]
        )

    made.flow("flow").node("make")
    return made


async def test_made_nodes_wait_for_people_in_memory() -> None:
    options = waiting().options
    runtime = FlowRuntime(blueprints=list(options.blueprints.values()), registry=options.registry)
    result = await runtime.run("flow")
    assert (result.status, result.awaiting) == ("awaiting", ("make[ask]", "make[too]"))
    result = await runtime.resume(result, {"make[ask]": Decision(output="yes")})
    assert (result.status, result.awaiting) == ("awaiting", ("make[too]",))
    result = await runtime.resume(result, {"make[too]": Decision(output="no")})
    assert (result.status, result.output) == ("completed", {"make": "made"})
    assert result.records["make[ask]"].output == "yes"


async def test_made_nodes_wait_for_people_on_workers() -> None:
    async with place(waiting()) as here:
        run_id = await here.start("flow", {})
        header = await here.until(run_id, lambda header: header["status"] == "awaiting")
        assert sorted(entry["nodeKey"] for entry in header["awaiting"]) == ["make[ask]", "make[too]"]
        for key in ("make[ask]", "make[too]"):
            await here.client.decide(run_id, key, output=key)
        ended = await here.ended(run_id)
    assert (ended.status, ended.output) == ("completed", {"make": "made"})


async def test_items_and_results_may_be_more_than_json(run: Run) -> None:
    moment = datetime(2026, 5, 4, tzinfo=UTC)
    types: list[str] = []

    async def work(ctx: NodeContext) -> Any:
        types.append(type(ctx.input).__name__)
        return {"same": ctx.input}

    made = app(work)

    @made.node("moments")
    async def moments(_ctx: NodeContext) -> list[Any]:
        return [moment, Decimal("1.50")]

    @made.node("check")
    async def check(ctx: NodeContext) -> Any:
        found = [{"same": moment}, {"same": Decimal("1.50")}]
        return ctx.input == found == await ctx.context.get("all")

    flow = made.flow("typed").node("moments").node("check")
    flow.batch("each", "work", output_key="all").edge("moments", "each").edge("each", "check")
    ended = await run(made, "typed", {})
    assert (ended.status, ended.output) == ("completed", {"check": True})
    assert sorted(types) == ["Decimal", "datetime"]


async def test_a_node_that_cancels_its_own_task_fails_and_is_not_repeated_for_ever() -> None:
    flow_app, executed = App("app"), []

    @flow_app.node("work")
    async def work(ctx: NodeContext) -> None:
        executed.append(ctx.attempt)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    flow_app.flow("flow", version="1").node("work")
    async with place(flow_app, settings=replace(SETTINGS, max_deliveries=1)) as here:
        ended = await here.run("flow", {})
    assert ended.status == "failed"
    assert len(executed) <= 2


@pytest.mark.parametrize("where", ["action", "key"])
async def test_text_that_is_no_unicode_fails_the_node_at_once_wherever_it_stands(
    where: str, run: Run
) -> None:
    flow_app = App("app")

    @flow_app.node("work")
    async def work(ctx: NodeContext) -> NodeResult:
        if where == "key":
            await ctx.context.set("\ud800", 1)
        return NodeResult(output=1, action="\ud800")

    flow_app.flow("flow", version="1").node("work")
    ended = await run(flow_app, "flow", {})
    assert ended.status == "failed"
    assert "not Unicode" in ended.errors[0]["message"]

"""Runs of a backend as results in memory: read whole, run again from a node, gone on with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.distributed.bench import ENDS, bench

from flowcraft import App, Decision, FlowRuntime, NodeContext
from flowcraft.distributed.runs.recall import recall


class Everything:
    """A batch, a loop, a wait, and context keys that several nodes write."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken = False
        app = self.app = App("all")

        @app.node("lists")
        async def lists(ctx: NodeContext) -> list[int]:
            self.calls.append(ctx.node_key)
            return [int(ctx.input["n"]), 2]

        @app.node("works")
        async def works(ctx: NodeContext) -> Any:
            self.calls.append(ctx.node_key)
            if self.broken and ctx.node_id == "last":
                raise RuntimeError("broken")
            number = int(await ctx.context.get("count", 0)) + 1
            await ctx.context.set("count", number)
            await ctx.context.set(f"by {ctx.node_id}", number)
            return ctx.input

        flow = app.flow("all", version="1").node("list", uses="lists").batch("sizes", "works", inputs="list")
        flow.node("draft", uses="works").loop("again", start="draft", end="draft", condition="count < 6")
        flow.wait("ask").node("last", uses="works")
        flow.edge("list", "sizes").edge("sizes", "draft").edge("again", "ask").edge("ask", "last")

    @property
    def runtime(self) -> FlowRuntime:
        return FlowRuntime(blueprints=self.app.blueprints.values(), registry=self.app.registry)


async def test_a_failed_run_is_run_again_here_from_the_node_that_failed() -> None:
    everything = Everything()
    everything.broken = True
    async with bench(everything.app) as here:
        run_id = await here.client.start_workflow("all", {"n": 1})
        await here.until(run_id, lambda header: header["status"] == "awaiting")
        waiting = await recall(here.client, run_id)
        await here.client.decide(run_id, "ask", output="yes")
        await here.until(run_id, lambda header: header["status"] in ENDS)
        failed = await recall(here.client, run_id)
    assert (waiting.status, waiting.awaiting, waiting.input) == ("awaiting", ("ask",), {"n": 1})
    assert (failed.status, failed.errors[0]["nodeKey"]) == ("failed", "last")
    assert failed.context == waiting.context
    assert failed.context["count"] >= 6

    everything.broken = False
    executed = len(everything.calls)
    again = await everything.runtime.rerun(failed, "last")
    assert (again.status, again.output) == ("completed", {"last": "yes"})
    assert everything.calls[executed:] == ["last"]
    ended = await everything.runtime.resume(waiting, {"ask": Decision(output="here")})
    assert ended.output == {"last": "here"}
    assert failed.status == "failed"


async def test_a_completed_run_is_the_same_run_in_memory() -> None:
    everything = Everything()
    async with bench(everything.app, 2) as here:
        run_id = await here.client.start_workflow("all", {"n": 1})
        await here.until(run_id, lambda header: header["status"] == "awaiting")
        await here.client.decide(run_id, "ask", output="yes")
        header = await here.until(run_id, lambda header: header["status"] in ENDS)
        recalled = await recall(here.client, run_id)
    assert (recalled.status, recalled.output) == ("completed", header["output"])
    waiting = await everything.runtime.run("all", {"n": 1})
    local = await everything.runtime.resume(waiting, {"ask": Decision(output="yes")})
    assert set(recalled.records) == set(local.records)
    outputs = {key: record.output for key, record in recalled.records.items() if "sizes_scatter" not in key}
    assert outputs == {key: local.records[key].output for key in outputs}
    everything.calls.clear()
    again = await everything.runtime.rerun(recalled, "draft")
    assert again.status == "awaiting"
    assert "sizes_scatter[0]" not in everything.calls


async def test_what_is_not_there_or_has_not_begun_is_told() -> None:
    app = App("late")
    async with bench(app, 0) as here:
        with pytest.raises(LookupError, match="there is no run nowhere"):
            await recall(here.client, "nowhere")
        run_id = await here.client.start_workflow("unknown", {})
        with pytest.raises(LookupError, match="has not begun"):
            await recall(here.client, run_id)
    await asyncio.sleep(0)

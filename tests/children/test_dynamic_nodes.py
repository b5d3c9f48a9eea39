"""Nodes that a node makes while it runs: they are its children, and its edges wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tests.children.runs import SETTINGS, Ended, place

from flowcraft import App, NodeContext, NodeDefinition, NodeResult
from flowcraft.distributed.jobs.worker import Worker

Run = Callable[..., Awaitable[Ended]]


def app(make: Any, *edges: dict[str, Any], **code: Any) -> App:
    made = App("making")
    made.node("make")(make)
    ran: list[str] = []

    async def echo(ctx: NodeContext) -> Any:
        ran.append(ctx.node_key)
        return {"node": ctx.node_id, "input": ctx.input, **ctx.params}

    async def last(ctx: NodeContext) -> Any:
        return {"got": ctx.input, "after": sorted(ran)}

    for name, function in {"echo": echo, "last": last, **code}.items():
        made.node(name)(function)
    made.add_blueprint(
        {
            "id": "flow",
            "nodes": [{"id": "make", "uses": "make"}, {"id": "last", "uses": "last"}],
            "edges": list(edges) or [{"source": "make", "target": "last"}],
        }
    )
    return made


async def test_they_run_before_what_is_behind_their_maker(run: Run) -> None:
    async def make(_ctx: NodeContext) -> NodeResult:
        nodes: list[Any] = [{"id": "x", "uses": "echo", "params": {"n": 1}}, NodeDefinition("y", "echo")]
        return NodeResult({"ok": True}, dynamic_nodes=nodes)

    ended = await run(app(make), "flow", {})
    assert ended.status == "completed"
    assert ended.output == {"last": {"got": {"ok": True}, "after": ["make[x]", "make[y]"]}}
    assert ended.records["make[x]"].output == {"node": "x", "input": None, "n": 1}
    assert ended.records["make"].status == "completed"


async def test_the_makers_action_is_kept_until_they_are_done(run: Run) -> None:
    async def make(_ctx: NodeContext) -> NodeResult:
        return NodeResult(7, "no", dynamic_nodes=[{"id": "x", "uses": "echo"}])

    edge = {"source": "make", "target": "last", "action": "yes"}
    ended = await run(app(make, edge), "flow", {})
    assert (ended.status, ended.records["last"].status) == ("completed", "skipped")
    assert (ended.records["make"].output, ended.records["make"].action) == (7, "no")


async def test_they_read_what_their_inputs_name(run: Run) -> None:
    async def make(ctx: NodeContext) -> NodeResult:
        await ctx.context.set("item", {"n": 3})
        nodes: list[Any] = [
            {"id": "x", "uses": "echo", "inputs": "item"},
            {"id": "y", "uses": "echo", "inputs": {"deep": "item.n", "of_run": "amount"}},
        ]
        return NodeResult(dynamic_nodes=nodes)

    ended = await run(app(make), "flow", {"amount": 42}, "item")
    assert ended.records["make[x]"].output["input"] == {"n": 3}
    assert ended.records["make[y]"].output["input"] == {"deep": 3, "of_run": 42}


async def test_they_may_make_nodes_themselves_and_scatter(run: Run) -> None:
    async def make(_ctx: NodeContext) -> NodeResult:
        scatter = {"workerUsesKey": "echo", "gatherNodeId": "last"}
        nodes: list[Any] = [
            {"id": "inner", "uses": "maker"},
            {"id": "batch", "uses": "batch-scatter", "inputs": "list", "params": scatter},
            {"id": "nap", "uses": "sleep", "params": {"duration": "1ms"}},
        ]
        return NodeResult(dynamic_nodes=nodes)

    async def maker(ctx: NodeContext) -> NodeResult:
        return NodeResult(ctx.node_key, dynamic_nodes=[{"id": "a", "uses": "echo"}])

    ended = await run(app(make, maker=maker), "flow", {"list": ["p", "q"]})
    assert ended.status == "completed"
    assert ended.output["last"]["after"] == ["make[batch/0]", "make[batch/1]", "make[inner/a]"]
    assert ended.records["make[inner]"].output == "make[inner]"
    assert ended.records["make[batch/1]"].output["input"] == "q"


async def test_a_gather_node_behind_the_maker_gathers_them(run: Run) -> None:
    async def make(_ctx: NodeContext) -> NodeResult:
        return NodeResult(dynamic_nodes=[{"id": name, "uses": "name"} for name in "cab"])

    async def name(ctx: NodeContext) -> str:
        return ctx.node_id

    made = app(make, name=name)
    made.add_blueprint(
        {
            "id": "gathering",
            "nodes": [{"id": "make", "uses": "make"}, {"id": "all", "uses": "batch-gather"}],
            "edges": [{"source": "make", "target": "all"}],
        }
    )
    ended = await run(made, "gathering", {})
    assert ended.output == {"all": ["c", "a", "b"]}


async def test_what_cannot_be_a_node_fails_its_maker(run: Run) -> None:
    async def make(_ctx: NodeContext) -> NodeResult:
        return NodeResult(dynamic_nodes=[{"id": "x", "uses": "nowhere"}])

    ended = await run(app(make), "flow", {})
    assert ended.status == "failed"
    assert ended.errors[0]["nodeKey"] == "make"
    assert "dynamic node x uses 'nowhere', which is not registered" in ended.errors[0]["message"]


async def test_one_that_fails_fails_the_run(run: Run) -> None:
    async def make(_ctx: NodeContext) -> NodeResult:
        return NodeResult(dynamic_nodes=[{"id": "x", "uses": "fails"}, {"id": "y", "uses": "echo"}])

    async def fails(_ctx: NodeContext) -> None:
        raise ValueError("no")

    ended = await run(app(make, fails=fails), "flow", {})
    assert (ended.status, [error["nodeKey"] for error in ended.errors]) == ("failed", ["make[x]"])


async def test_a_node_that_makes_itself_comes_to_an_end(run: Run) -> None:
    async def make(_ctx: NodeContext) -> NodeResult:
        return NodeResult(dynamic_nodes=[{"id": "again", "uses": "make"}])

    ended = await run(app(make), "flow", {})
    assert ended.status == "failed"
    assert "nodes that make nodes go deeper than 8 here" in ended.errors[0]["message"]


async def test_a_worker_of_an_older_app_leaves_nodes_that_it_does_not_know_to_newer_ones() -> None:
    first_runs, release = asyncio.Event(), asyncio.Event()

    async def make(_ctx: NodeContext) -> NodeResult:
        return NodeResult(dynamic_nodes=[{"id": "x", "uses": "new"}, {"id": "y", "uses": "new"}])

    async def new(_ctx: NodeContext) -> str:
        first_runs.set()
        await release.wait()
        return "by the new one"

    settings = replace(SETTINGS, unknown_delay_s=0.01)
    async with place(app(make, new=new), workers=1, settings=replace(settings, concurrency=1)) as here:
        run_id = await here.start("flow", {})
        await first_runs.wait()
        old = replace(here.services, catalog=app(make).options, worker_id="old", settings=settings)
        async with Worker(old) as worker:
            async with asyncio.timeout(10):
                while worker.handled < 3:  # noqa: ASYNC110  it tells nobody
                    await asyncio.sleep(0.005)
            release.set()
            ended = await here.ended(run_id)
    assert ended.status == "completed"
    assert ended.records["make[y]"].output == "by the new one"

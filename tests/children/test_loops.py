"""Batches and made nodes in loops: each round has children of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.children.runs import Ended

from flowcraft import App, NodeContext, NodeResult

Run = Callable[..., Awaitable[Ended]]


def app(rounds: int) -> App:
    made = App("loops")

    @made.node("items")
    async def items(ctx: NodeContext) -> list[int]:
        number = (await ctx.context.get("round") or 0) + 1
        await ctx.context.set("round", number)
        return [10 * number + place for place in range(number)]

    @made.node("work")
    async def work(ctx: NodeContext) -> list[Any]:
        return [ctx.node_key, ctx.input]

    @made.node("make")
    async def make(ctx: NodeContext) -> NodeResult:
        number = await ctx.context.get("round")
        return NodeResult(number, dynamic_nodes=[{"id": "x", "uses": "work", "inputs": "round"}])

    @made.node("last")
    async def last(ctx: NodeContext) -> Any:
        return ctx.input

    flow = made.flow("flow").node("first", uses="last").node("items").node("last").node("make")
    flow.batch("each", "work", inputs="items", output_key="all", concurrency=2)
    flow.edge("first", "items").edge("items", "each").edge("each", "make")
    flow.loop("again", start="items", end="make", condition=f"context.round < {rounds}").edge("again", "last")
    return made


async def test_each_round_has_children_of_its_own(run: Run) -> None:
    ended = await run(app(3), "flow", {}, "all")
    assert ended.status == "completed", ended.errors
    assert ended.output == {"last": 3}
    assert ended.context["all"] == [
        ["each_scatter#3[0]", 30], ["each_scatter#3[1]", 31], ["each_scatter#3[2]", 32],
    ]  # fmt: skip
    assert ended.records["each_gather#2"].output == [["each_scatter#2[0]", 20], ["each_scatter#2[1]", 21]]
    assert [ended.records[f"make#{number}[x]"].output[1] for number in (1, 2, 3)] == [1, 2, 3]
    keys = {key for key in ended.records if key.startswith("each_scatter") and "[" in key}
    assert len(keys) == 1 + 2 + 3
    if ended.header is not None:
        total = len(ended.records)
        assert ended.header["progress"] == {"done": total, "total": total}

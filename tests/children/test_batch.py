"""Batches: each item becomes a child, and the results are gathered in order."""

from __future__ import annotations

from typing import Any

from tests.children.runs import place

from flowcraft import App, NodeContext


def batch(**params: Any) -> dict[str, Any]:
    scatter = {"workerUsesKey": "double", "gatherNodeId": "b_gather", "outputKey": "doubled", **params}
    return {
        "id": "flow",
        "nodes": [
            {"id": "items", "uses": "items"},
            {"id": "b_scatter", "uses": "batch-scatter", "inputs": "items", "params": scatter},
            {"id": "b_gather", "uses": "batch-gather", "params": {"outputKey": "doubled"}},
            {"id": "last", "uses": "last"},
        ],
        "edges": [
            {"source": "items", "target": "b_scatter"},
            {"source": "b_scatter", "target": "b_gather"},
            {"source": "b_gather", "target": "last"},
        ],
    }


def doubling(**params: Any) -> App:
    app = App("doubling")

    @app.node("items")
    async def items(ctx: NodeContext) -> Any:
        return ctx.input["items"]

    @app.node("double")
    async def double(ctx: NodeContext) -> int:
        return 2 * int(ctx.input)

    @app.node("last")
    async def last(ctx: NodeContext) -> Any:
        return {"got": ctx.input, "key": await ctx.context.get("doubled")}

    app.add_blueprint(batch(**params))
    return app


async def test_results_come_in_order() -> None:
    async with place(doubling()) as here:
        ended = await here.run("flow", {"items": list(range(20))}, "doubled")
    doubled = [2 * number for number in range(20)]
    assert (ended.status, ended.output) == ("completed", {"last": {"got": doubled, "key": doubled}})
    assert ended.context["doubled"] == doubled

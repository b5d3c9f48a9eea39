"""Batches: each item becomes a child, and the results are gathered in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.children.runs import Ended

from flowcraft import App, FatalError, NodeContext, NodeResult

Run = Callable[..., Awaitable[Ended]]


def batch(**params: Any) -> dict[str, Any]:
    """The original's JSON of a batch between two nodes."""
    scatter = {"workerUsesKey": "work", "gatherNodeId": "b_gather", "outputKey": "results", **params}
    return {
        "id": "flow",
        "nodes": [
            {"id": "items", "uses": "items"},
            {"id": "b_scatter", "uses": "batch-scatter", "inputs": "items", "params": scatter},
            {"id": "b_gather", "uses": "batch-gather", "params": {"outputKey": "results"}},
            {"id": "last", "uses": "last"},
        ],
        "edges": [
            {"source": "items", "target": "b_scatter"},
            {"source": "b_scatter", "target": "b_gather"},
            {"source": "b_gather", "target": "last"},
        ],
    }


async def double(ctx: NodeContext) -> Any:
    if ctx.input == "broken":
        raise ValueError("cannot be doubled")
    return 2 * ctx.input


def app(work: Any = double, **params: Any) -> App:
    made = App("children")
    made.node("work")(work)

    @made.node("items")
    async def items(ctx: NodeContext) -> Any:
        return ctx.input["items"]

    @made.node("last")
    async def last(ctx: NodeContext) -> Any:
        return {"got": ctx.input, "key": await ctx.context.get("results")}

    made.add_blueprint(batch(**params))
    return made


async def test_results_come_in_order(run: Run) -> None:
    async def slow_first(ctx: NodeContext) -> int:
        await asyncio.sleep(0.02 if ctx.input == 0 else 0)
        return 2 * int(ctx.input)

    ended = await run(app(slow_first), "flow", {"items": list(range(20))}, "results")
    doubled = [2 * number for number in range(20)]
    assert (ended.status, ended.output) == ("completed", {"last": {"got": doubled, "key": doubled}})
    assert ended.context["results"] == doubled
    assert ended.records["b_scatter"].output == {"gatherNodeId": "b_gather", "hasMore": False}
    assert {f"b_scatter[{place}]" for place in range(20)} < ended.records.keys()


@pytest.mark.parametrize("items", [[], None])
async def test_a_batch_over_nothing_gathers_nothing(run: Run, items: Any) -> None:
    ended = await run(app(), "flow", {"items": items}, "results")
    assert (ended.status, ended.context["results"]) == ("completed", [])
    assert ended.output == {"last": {"got": [], "key": []}}


@pytest.mark.parametrize("items", [{"a": 1}, "abc", 7])
async def test_a_batch_over_anything_but_a_list_fails_its_scatter_node(run: Run, items: Any) -> None:
    ended = await run(app(), "flow", {"items": items})
    assert ended.status == "failed"
    (error,) = ended.errors
    assert error["nodeKey"] == "b_scatter"
    assert "the input of batch b_scatter must be a list of items, not" in error["message"]


async def test_at_most_so_many_items_are_worked_on_at_a_time(run: Run) -> None:
    running: set[str] = set()
    most = 0

    async def work(ctx: NodeContext) -> Any:
        nonlocal most
        running.add(ctx.node_key)
        most = max(most, len(running))
        await asyncio.sleep(0.001)
        running.remove(ctx.node_key)
        return ctx.input

    ended = await run(app(work, concurrency=3), "flow", {"items": list(range(10))}, "results")
    assert (ended.status, ended.context["results"]) == ("completed", list(range(10)))
    assert most <= 3


async def test_a_failed_item_fails_the_run_and_names_itself(run: Run) -> None:
    ended = await run(app(), "flow", {"items": [1, "broken", 3]})
    assert ended.status == "failed"
    assert [error["nodeKey"] for error in ended.errors] == ["b_scatter[1]"]
    assert "cannot be doubled" in ended.errors[0]["message"]
    assert "b_gather" not in ended.records


async def test_failed_items_are_left_out(run: Run) -> None:
    ended = await run(app(onError="skip"), "flow", {"items": [1, "broken", 3]}, "results")
    assert (ended.status, ended.context["results"]) == ("completed", [2, 6])


async def test_errors_are_collected_in_place(run: Run) -> None:
    ended = await run(app(onError="collect"), "flow", {"items": ["broken", 2, "broken"]}, "results")
    first, two, last = ended.context["results"]
    assert (ended.status, two) == ("completed", 4)
    assert first["error"]["type"] == last["error"]["type"] == "ValueError"
    assert first["error"]["message"] == "cannot be doubled"


async def test_a_fatal_error_fails_the_run_whatever_the_policy(run: Run) -> None:
    async def work(_ctx: NodeContext) -> None:
        raise FatalError("stop everything")

    ended = await run(app(work, onError="skip"), "flow", {"items": [1]})
    assert (ended.status, ended.errors[0]["nodeKey"]) == ("failed", "b_scatter[0]")


async def test_an_item_is_retried_as_the_batch_says(run: Run) -> None:
    seen: list[tuple[str, int]] = []

    async def work(ctx: NodeContext) -> Any:
        seen.append((ctx.node_key, ctx.attempt))
        if ctx.attempt < 3:
            raise RuntimeError("not yet")
        return ctx.idempotency_key

    ended = await run(app(work, config={"maxRetries": 3}), "flow", {"items": ["a"]}, "results")
    assert seen == [("b_scatter[0]", attempt) for attempt in (1, 2, 3)]
    assert ended.context["results"][0].endswith(":b_scatter[0]")
    assert ended.records["b_scatter[0]"].attempt == 3


async def test_what_an_item_cannot_give_fails_it(run: Run) -> None:
    async def work(_ctx: NodeContext) -> Any:
        return object()

    ended = await run(app(work, onError="collect"), "flow", {"items": [1]}, "results")
    assert ended.context["results"][0]["error"]["type"] == "OutputError"


async def test_items_write_context_and_synchronous_code_is_welcome(run: Run) -> None:
    def work(ctx: NodeContext) -> NodeResult:
        ctx.context.blocking.set(f"seen_{ctx.input}", ctx.node_key)
        return NodeResult(ctx.input, "an action that no edge has")

    ended = await run(app(work), "flow", {"items": ["a", "b"]}, "results", "seen_a", "seen_b")
    assert ended.context["results"] == ["a", "b"]
    assert (ended.context["seen_a"], ended.context["seen_b"]) == ("b_scatter[0]", "b_scatter[1]")


async def test_items_may_sleep_and_retry_later(run: Run) -> None:
    async def work(ctx: NodeContext) -> Any:
        return ctx.input

    ended = await run(app(work, workerUsesKey="sleep", params={"duration": "5ms"}), "flow", {"items": [1, 2]})
    assert (ended.status, ended.output) == ("completed", {"last": {"got": [1, 2], "key": [1, 2]}})

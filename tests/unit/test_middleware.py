"""Middleware around nodes: its order, what it may change, and that failures and cancellation pass through."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcraft import App, FlowRuntime, NodeContext, NodeResult
from flowcraft.extensions import Extensions
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import RunResult
from flowcraft.middleware import Middleware, Next, RetryScheduledError
from flowcraft.testing import VirtualClock

calls: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    calls.clear()


class Noting(Middleware):
    def __init__(self, name: str) -> None:
        self.name = name

    async def before_node(self, ctx: NodeContext) -> None:
        calls.append(f"{self.name} before {ctx.node_key}")

    async def after_node(
        self, ctx: NodeContext, result: NodeResult | None, error: BaseException | None
    ) -> None:
        calls.append(f"{self.name} after {result.output if result else repr(error)}")

    async def around_node(self, ctx: NodeContext, following: Next) -> Any:
        calls.append(f"{self.name} in")
        try:
            return await following()
        finally:
            calls.append(f"{self.name} out")


async def run(
    *middleware: Middleware,
    node: dict[str, Any] | None = None,
    options: RunOptions | None = None,
    **code: Any,
) -> RunResult:
    blueprint = {"id": "p", "nodes": [{"id": "a", "uses": "a", **(node or {})}], "edges": []}
    runtime = FlowRuntime(registry=code, extensions=Extensions(middleware=list(middleware)))
    return await runtime.run(blueprint, {"n": 1}, options or VirtualClock().options())


async def gives_two(_ctx: NodeContext) -> int:
    calls.append("node")
    return 2


async def breaks(ctx: NodeContext) -> None:
    calls.append(f"attempt {ctx.attempt}")
    raise RuntimeError("broken")


async def test_the_first_is_the_outermost() -> None:
    result = await run(Noting("x"), Noting("y"), a=gives_two)
    assert result.output == {"a": 2}
    assert calls == [
        "x in", "x before a", "y in", "y before a", "node", "y after 2", "y out", "x after 2", "x out",
    ]  # fmt: skip


async def test_all_attempts_and_the_fallback_are_inside() -> None:
    async def stands_in(_ctx: NodeContext) -> str:
        return "instead"

    result = await run(
        Noting("x"), node={"config": {"maxRetries": 2, "fallback": "f"}}, a=breaks, f=stands_in
    )
    assert calls == ["x in", "x before a", "attempt 1", "attempt 2", "x after instead", "x out"]
    assert result.output == {"a": "instead"}


async def test_a_failure_passes_through_and_is_recorded_as_it_was() -> None:
    result = await run(Noting("x"), a=breaks)
    assert calls[-2:] == ["x after RuntimeError('broken')", "x out"]
    assert result.errors[0]["type"] == "RuntimeError"
    assert (result.records["a"].error or {})["line"].endswith("in breaks")


async def test_it_may_leave_out_the_node() -> None:
    class Cached(Middleware):
        async def around_node(self, ctx: NodeContext, following: Next) -> Any:
            return NodeResult({"from": "cache", "for": ctx.input["n"]}, action="hit")

    result = await run(Cached(), a=gives_two)
    assert calls == []
    assert result.records["a"].output == {"from": "cache", "for": 1}
    assert result.records["a"].action == "hit"


async def test_it_may_change_the_result_and_turn_a_failure_into_one() -> None:
    class Doubles(Middleware):
        async def around_node(self, _ctx: NodeContext, following: Next) -> Any:
            return (await following()).output * 2

    class Saves(Middleware):
        async def around_node(self, _ctx: NodeContext, following: Next) -> Any:
            try:
                return await following()
            except RuntimeError as error:
                return str(error)

    assert (await run(Doubles(), Doubles(), a=gives_two)).output == {"a": 8}
    assert (await run(Saves(), a=breaks)).output == {"a": "broken"}


async def test_it_may_execute_the_node_again() -> None:
    class Twice(Middleware):
        async def around_node(self, _ctx: NodeContext, following: Next) -> Any:
            await following()
            return await following()

    assert (await run(Twice(), a=gives_two)).status == "completed"
    assert calls == ["node", "node"]


@pytest.mark.parametrize("place", ["before_node", "after_node", "around_node"])
async def test_what_it_raises_fails_the_node(place: str) -> None:
    class Broken(Middleware):
        pass

    async def raises(*_: Any) -> None:
        raise PermissionError("not you")

    setattr(Broken, place, raises)
    result = await run(Broken(), a=gives_two)
    assert result.errors[0]["type"] == "PermissionError"
    assert result.errors[0]["message"] == "not you"


async def test_what_it_gives_must_be_a_value_that_can_be_kept() -> None:
    class Odd(Middleware):
        async def around_node(self, _ctx: NodeContext, _following: Next) -> Any:
            return {"x": object()}

    assert "`.x` is a object" in (await run(Odd(), a=gives_two)).errors[0]["message"]


async def test_its_writes_are_seen_by_the_node_and_appear_with_it() -> None:
    class Stamps(Middleware):
        async def around_node(self, ctx: NodeContext, following: Next) -> Any:
            await ctx.context.set("who", "middleware")
            result = await following()
            await ctx.context.set("seen", await ctx.context.get("own"))
            return result

    async def reads(ctx: NodeContext) -> Any:
        await ctx.context.set("own", 5)
        return await ctx.context.get("who")

    result = await run(Stamps(), a=reads)
    assert result.output == {"a": "middleware"}
    assert result.context == {"who": "middleware", "own": 5, "seen": 5}
    failed = await run(Stamps(), a=breaks)
    assert failed.context == {}


async def test_a_long_retry_delay_ends_the_execution_and_the_next_begins_anew() -> None:
    seen: list[Any] = []

    class Looks(Middleware):
        async def after_node(
            self, ctx: NodeContext, result: NodeResult | None, error: BaseException | None
        ) -> None:
            seen.append((ctx.attempt, type(error)))

    await run(Looks(), node={"config": {"maxRetries": 2, "retryDelay": 60_000}}, a=breaks)
    assert seen == [(1, RetryScheduledError), (2, RuntimeError)]


async def test_cancellation_passes_through_it() -> None:
    signal, told = asyncio.Event(), []

    class Cleans(Middleware):
        async def around_node(self, ctx: NodeContext, following: Next) -> Any:
            try:
                return await following()
            finally:
                told.append(ctx.cancelled.is_set())

    async def waits(_ctx: NodeContext) -> None:
        signal.set()
        await asyncio.Event().wait()

    result = await run(Cleans(), a=waits, options=RunOptions(signal=signal))
    assert (result.status, told) == ("cancelled", [True])


async def test_values_reach_it_as_values() -> None:
    class Looks(Middleware):
        async def around_node(self, _ctx: NodeContext, following: Next) -> Any:
            result = await following()
            assert result.output == {1, 2}
            return result

    async def gives_set(_ctx: NodeContext) -> set[int]:
        return {1, 2}

    assert (await run(Looks(), a=gives_set)).output == {"a": {"$type": "set", "value": [1, 2]}}


async def test_an_app_brings_its_middleware_along() -> None:
    app = App("mine")
    app.node("a")(gives_two)
    app.use(Noting("x"))
    flow = app.flow("p").node("a").to_blueprint()
    await FlowRuntime(registry=app.registry, extensions=app.options.extensions).run(flow)
    assert "x in" in calls


class PanicException(BaseException):
    """As extension modules raise."""


@pytest.mark.parametrize("error", [asyncio.CancelledError, PanicException])
async def test_what_is_no_exception_fails_the_node_whoever_raises_it(error: type[BaseException]) -> None:
    async def raises(_ctx: NodeContext) -> None:
        raise error

    class Raises(Middleware):
        async def before_node(self, ctx: NodeContext) -> None:
            raise error

    for result in (await run(Noting("x"), a=raises), await run(Raises(), a=gives_two)):
        assert result.status == "failed"
        assert result.errors[0]["type"] == error.__name__

"""Runs in memory: what they come to, how they wait, what runs at the same time, and what one failure ends."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.clocks import SteppingClock

from flowcraft import AppError, Blueprint, BlueprintError, FlowRuntime, NodeContext, NodeResult
from flowcraft.engine.derivation import resolve
from flowcraft.engine.plan import Plan
from flowcraft.memory.lanes import BREATH_S
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import Decision, RunResult

Code = Callable[[NodeContext], Any]


def blueprint(*edges: str, **nodes: dict[str, Any]) -> Blueprint:
    """Edges such as ``"a b"``, with an action as a third word; nodes whose code has their name."""
    parts = [edge.split() for edge in edges]
    drawn = [{"source": s, "target": t, **({"action": more[0]} if more else {})} for s, t, *more in parts]
    ids = dict.fromkeys([name for part in parts for name in part[:2]] + list(nodes))
    return Blueprint.from_dict(
        {"id": "p", "nodes": [{"id": i, "uses": i, **nodes.get(i, {})} for i in ids], "edges": drawn}
    )


async def nothing(_ctx: NodeContext) -> None:
    """A node that does nothing."""


async def passes_on(ctx: NodeContext) -> Any:
    return ctx.input


def code(**named: Code) -> dict[str, Code]:
    """Implementations of the nodes a to z: nothing, unless named."""
    return {**dict.fromkeys("abcdefxyz", nothing), **named}


async def run(
    drawn: Blueprint, given: Any = None, options: RunOptions | None = None, **named: Code
) -> RunResult:
    result = await FlowRuntime(registry=code(**named)).run(drawn, given, options)
    consistent(result)
    return result


def consistent(result: RunResult) -> None:
    """The records say what the result says, by the function that looks at all of them at once."""
    resolution = resolve(Plan.of(result.blueprint), result.records)
    assert (result.status == "failed") == bool(resolution.failed)
    if result.status != "failed":
        assert (resolution.ready, resolution.skipped) == ((), ())
        assert resolution.ended == (result.status == "completed")
        assert resolution.awaiting == result.awaiting


async def test_outputs_of_terminal_nodes_are_the_runs_output() -> None:
    result = await run(blueprint("a b", "a c"), {"x": 1}, a=passes_on, b=passes_on)
    assert result.status == "completed"
    assert result.output == {"b": {"x": 1}, "c": None}
    assert {key: record.seq for key, record in result.records.items()} == {"a": 1, "b": 2, "c": 2}


async def test_branches_not_taken_are_skipped_to_the_end() -> None:
    async def a(_ctx: NodeContext) -> NodeResult:
        return NodeResult(1, "yes")

    result = await run(blueprint("a b yes", "a c no", "c d", "b z", "d z", "c e", "d e"), a=a)
    statuses = {key: record.status for key, record in result.records.items()}
    assert statuses == {
        "a": "completed",
        "b": "completed",
        "c": "skipped",
        "d": "skipped",
        "e": "skipped",
        "z": "completed",
    }
    assert result.output == {"z": None}


async def test_an_any_join_runs_once_at_its_first_taken_edge() -> None:
    slow = asyncio.Event()
    calls = []

    async def b(_ctx: NodeContext) -> str:
        await slow.wait()
        return "slow"

    async def z(ctx: NodeContext) -> None:
        calls.append(ctx.input)
        slow.set()

    drawn = blueprint("a b", "a c", "b z", "c z", z={"config": {"joinStrategy": "any"}})
    result = await run(drawn, b=b, z=z)
    assert result.status == "completed"
    assert calls == [None]
    assert result.records["b"].output == "slow"


async def test_writes_are_seen_by_nodes_behind_and_by_the_nodes_own_edges() -> None:
    async def a(ctx: NodeContext) -> None:
        await ctx.context.set("total", 7)

    async def b(ctx: NodeContext) -> list[Any]:
        return [
            await ctx.context.get("total"),
            await ctx.context.get("given"),
            await ctx.context.get("no", 0),
        ]

    drawn = Blueprint.from_dict(
        {
            "id": "p",
            "nodes": [{"id": "a", "uses": "a"}, {"id": "b", "uses": "b"}, {"id": "c", "uses": "c"}],
            "edges": [
                {"source": "a", "target": "b", "condition": "total > 5"},
                {"source": "a", "target": "c", "condition": "total > 9"},
            ],
        }
    )
    result = await run(drawn, {"given": "input"}, a=a, b=b)
    assert result.output == {"b": [7, "input", 0]}
    assert result.context == {"total": 7}


async def test_nodes_that_block_run_at_the_same_time_up_to_the_limit() -> None:
    running = most = 0

    async def step(_ctx: NodeContext) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1

    drawn = blueprint(*(f"a {name}" for name in "bcdefxyz"))
    named = dict.fromkeys("bcdefxyz", step)
    assert (await run(drawn, options=RunOptions(concurrency=3), **named)).status == "completed"
    assert most == 3
    most = 0
    assert (await run(drawn, options=RunOptions(concurrency=1), **named)).status == "completed"
    assert most == 1


async def test_a_node_that_waits_for_its_sibling_gets_it() -> None:
    met = asyncio.Event()

    async def b(_ctx: NodeContext) -> None:
        await met.wait()

    async def c(_ctx: NodeContext) -> None:
        met.set()

    assert (await run(blueprint("a b", "a c"), b=b, c=c)).status == "completed"


async def test_nodes_that_never_block_leave_the_loop_to_others_now_and_then() -> None:
    turns = 0

    async def busy(_ctx: NodeContext) -> None:
        time.sleep(BREATH_S)  # noqa: ASYNC251  it holds the loop, as work without an await does

    async def neighbour() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(neighbour())
    await run(blueprint("a b", "b c", "c d"), a=busy, b=busy, c=busy, d=busy)
    task.cancel()
    assert turns > 2


async def test_a_failure_ends_the_run_and_tells_what_executes() -> None:
    told = []

    async def b(ctx: NodeContext) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            told.append(ctx.signal.is_set())

    async def c(_ctx: NodeContext) -> None:
        raise ValueError("no card")

    result = await run(blueprint("a b", "a c", "c d", "b e"), b=b, c=c)
    assert result.status == "failed"
    assert told == [True]
    assert result.output is None
    [error] = result.errors
    assert (error["nodeKey"], error["type"], error["message"]) == ("c", "ValueError", "no card")
    assert set(result.records) == {"a", "c"}


async def test_a_result_that_comes_after_the_failure_is_recorded_and_starts_nothing() -> None:
    async def b(_ctx: NodeContext) -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "late"
        raise AssertionError

    async def c(_ctx: NodeContext) -> None:
        raise ValueError

    result = await run(blueprint("a b", "a c", "b d"), b=b, c=c)
    assert (result.status, result.records["b"].output, "d" in result.records) == ("failed", "late", False)


async def test_cancelling_the_caller_cancels_its_nodes() -> None:
    began, ended = asyncio.Event(), []

    async def b(_ctx: NodeContext) -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(1)

    task = asyncio.create_task(FlowRuntime(registry=code(b=b, c=b)).run(blueprint("a b", "a c")))
    await began.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1, 1]


async def test_a_failure_is_not_taken_for_the_callers_cancellation() -> None:
    async def b(_ctx: NodeContext) -> None:
        await asyncio.get_running_loop().create_future()

    async def c(_ctx: NodeContext) -> None:
        raise ValueError

    task = asyncio.create_task(FlowRuntime(registry=code(b=b, c=c)).run(blueprint("a b", "a c")))
    assert (await task).status == "failed"
    assert task.cancelling() == 0


async def test_a_timeout_of_a_nodes_own_ends_only_the_node() -> None:
    async def b(_ctx: NodeContext) -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "in time"
        raise AssertionError

    assert (await run(blueprint("a b"), b=b)).output == {"b": "in time"}


async def test_synchronous_nodes_run_beside_each_other_in_threads() -> None:
    import threading  # noqa: PLC0415

    both = threading.Barrier(2, timeout=20)

    def step(_ctx: NodeContext) -> str:
        both.wait()
        return "met"

    assert (await run(blueprint("a b", "a c"), b=step, c=step)).output == {"b": "met", "c": "met"}


async def test_nodes_see_the_callers_context_variables() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")

    async def b(_ctx: NodeContext) -> str:
        return request.get()

    request.set("r1")
    assert (await run(blueprint("a b"), b=b)).output == {"b": "r1"}


async def test_a_sibling_does_not_see_what_a_waiting_node_has_set() -> None:
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="the caller's")
    met = asyncio.Event()

    async def b(_ctx: NodeContext) -> None:
        token = span.set("b's")
        await met.wait()
        span.reset(token)

    async def c(_ctx: NodeContext) -> str:
        met.set()
        return span.get()

    assert (await run(blueprint("a b", "a c"), b=b, c=c)).output == {"b": None, "c": "the caller's"}


# ---- waiting ----


async def test_a_run_awaits_decisions_and_goes_on_with_them() -> None:
    drawn = blueprint("a ok", "a b", "ok c yes", "ok d no", "c z", "b z", ok={"uses": "wait"})
    runtime = FlowRuntime(registry=code(c=passes_on, b=passes_on))
    waiting = await runtime.run(drawn, {"amount": 1})
    consistent(waiting)
    assert (waiting.status, waiting.awaiting, waiting.output) == ("awaiting", ("ok",), None)
    assert waiting.records["b"].status == "completed"
    done = await runtime.resume(waiting, {"ok": Decision("yes", {"by": "ada"})})
    consistent(done)
    assert (done.status, done.run_id) == ("completed", waiting.run_id)
    assert done.records["ok"].decision == {"action": "yes", "output": {"by": "ada"}}
    assert done.records["c"].output == {"by": "ada"}
    assert done.records["d"].status == "skipped"
    assert waiting.awaiting == ("ok",)


async def test_decisions_may_come_one_by_one_and_context_stays() -> None:
    async def a(ctx: NodeContext) -> None:
        await ctx.context.set("k", 1)

    async def z(ctx: NodeContext) -> Any:
        return [ctx.input, await ctx.context.get("k")]

    drawn = blueprint("a v", "a w", "v z", "w z", v={"uses": "wait"}, w={"uses": "wait"})
    runtime = FlowRuntime(registry=code(a=a, z=z))
    first = await runtime.run(drawn)
    assert first.awaiting == ("v", "w")
    second = await runtime.resume(first, {"w": Decision(output=2)})
    assert (second.status, second.awaiting) == ("awaiting", ("v",))
    third = await runtime.resume(second, {"v": Decision(output=1)})
    assert third.output == {"z": [{"v": 1, "w": 2}, 1]}


async def test_what_does_not_wait_cannot_be_decided() -> None:
    runtime = FlowRuntime(registry=code())
    waiting = await runtime.run(blueprint("a v", "v b", v={"uses": "wait"}))
    with pytest.raises(AppError, match=r"'a' of run .* does not wait; v does"):
        await runtime.resume(waiting, {"a": Decision()})
    done = await runtime.resume(waiting, {"v": Decision()})
    with pytest.raises(AppError, match="does not wait; nothing does"):
        await runtime.resume(done, {"v": Decision()})


async def test_sleeps_pass_by_the_given_clock_and_hand_on_their_input() -> None:
    clock = SteppingClock()
    drawn = blueprint("a nap", "nap b", nap={"uses": "sleep", "params": {"duration": "7d"}})
    result = await run(drawn, {"x": 1}, RunOptions(clock=clock), a=passes_on, b=passes_on)
    assert result.output == {"b": {"x": 1}}
    assert clock.slept == [7 * 86400.0]
    assert result.records["nap"].started_at < result.records["nap"].finished_at


async def test_a_long_retry_delay_holds_no_place() -> None:
    clock = SteppingClock()
    attempts = []

    async def b(ctx: NodeContext) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError
        return "second"

    drawn = blueprint("a b", "a c", "c d", b={"config": {"maxRetries": 2, "retryDelay": 60_000}})
    result = await run(drawn, options=RunOptions(clock=clock, concurrency=1), b=b)
    assert result.output == {"b": "second", "d": None}
    assert attempts == [1, 2]
    assert result.records["b"].attempt == 2
    assert 30 <= clock.slept[0] <= 60


async def test_a_failure_ends_sleeps() -> None:
    async def b(_ctx: NodeContext) -> None:
        raise ValueError

    drawn = blueprint("a nap", "a b", nap={"uses": "sleep", "params": {"duration": "1d"}})
    result = await run(drawn, b=b)
    assert (result.status, result.records["nap"].status) == ("failed", "awaiting")


# ---- what is refused ----


async def test_an_unknown_blueprint_and_missing_code_are_told() -> None:
    runtime = FlowRuntime(registry=code())
    with pytest.raises(AppError, match="no blueprint 'q' is known"):
        await runtime.run("q")
    with pytest.raises(BlueprintError, match="MISSING_NODE_IMPLEMENTATION"):
        await runtime.run(blueprint("a unknown"))
    with pytest.raises(ValueError, match="cannot be kept"):
        await runtime.run(blueprint("a b"), {"x": object()})
    with pytest.raises(AppError, match="concurrency"):
        RunOptions(concurrency=0)


async def test_a_blueprint_is_found_by_its_id_and_taken_as_json() -> None:
    drawn = blueprint("a b")
    runtime = FlowRuntime(blueprints=[drawn], registry=code())
    assert (await runtime.run("p")).status == "completed"
    assert (await runtime.run(drawn.to_dict(), options=RunOptions("mine"))).run_id == "mine"


async def test_an_expression_that_cannot_be_evaluated_fails_its_node() -> None:
    drawn = Blueprint.from_dict(
        {
            "id": "p",
            "nodes": [{"id": "a", "uses": "a"}, {"id": "b", "uses": "b"}],
            "edges": [{"source": "a", "target": "b", "condition": "result.output + 1 > 2"}],
        }
    )
    result = await run(drawn, {"x": 1}, a=passes_on)
    assert result.errors[0]["type"] == "EvaluationError"

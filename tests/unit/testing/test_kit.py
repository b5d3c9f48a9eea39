"""The testing kit: traces of failures, event logs, steps, and sleeps in virtual time."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import pytest

from flowcraft import App, AppError, Blueprint, BlueprintError, FlowRuntime, NodeContext
from flowcraft.events import NodeFinished
from flowcraft.memory.result import Decision
from flowcraft.testing import EventLog, Stepper, VirtualClock, run_with_trace

app = App("kit")


@app.node
async def one(_ctx: NodeContext) -> int:
    return 1


@app.node
async def plus_one(ctx: NodeContext) -> int:
    return int(ctx.input) + 1


@app.node
async def breaks(ctx: NodeContext) -> None:
    raise RuntimeError(f"broken by {ctx.input}")


@app.node
def slow_thread(ctx: NodeContext) -> Any:
    time.sleep(0.05)
    return ctx.input


def runtime() -> FlowRuntime:
    return FlowRuntime(registry=app.registry)


def line(*uses: str | tuple[str, dict[str, Any]]) -> Blueprint:
    """Nodes n0, n1, … in a row, by what they use, with params."""
    steps = [step if isinstance(step, tuple) else (step, {}) for step in uses]
    nodes = [{"id": f"n{i}", "uses": name, "params": params} for i, (name, params) in enumerate(steps)]
    edges = [{"source": f"n{i}", "target": f"n{i + 1}"} for i in range(len(steps) - 1)]
    return Blueprint.from_dict({"id": "line", "nodes": nodes, "edges": edges})


async def test_a_run_that_fails_prints_its_events() -> None:
    out = io.StringIO()
    result = await run_with_trace(runtime(), line("one", "breaks"), {"x": 1}, file=out)
    assert result.status == "failed"
    trace = out.getvalue()
    assert "--- line failed: n1: RuntimeError: broken by 1: " in trace
    assert "workflow:start    input={'x': 1}" in trace
    assert "node:finish       nodeKey='n0'" in trace


async def test_a_run_that_completes_prints_nothing_and_leaves_no_listener() -> None:
    out, own = io.StringIO(), runtime()
    assert (await run_with_trace(own, line("one", "plus_one"), file=out)).output == {"n1": 2}
    assert out.getvalue() == ""
    assert not own.options.extensions.events.listening


async def test_a_run_that_cannot_begin_prints_why() -> None:
    out = io.StringIO()
    with pytest.raises(BlueprintError):
        await run_with_trace(runtime(), line("unknown"), file=out)
    assert "BlueprintError: blueprint line cannot run" in out.getvalue()


async def test_an_event_log_is_asked_by_type_and_fields() -> None:
    own, log = runtime(), EventLog()
    own.options.extensions.events.subscribe(log)
    await own.run(line("one", "plus_one"))
    assert log.types[0] == "workflow:start"
    assert log.types[-1] == "workflow:finish"
    found = log.find(NodeFinished, node_id="n1")
    assert found is not None
    assert found.output == 2
    assert [event.output for event in log.filter("node:finish")] == [1, 2]
    assert log.find("node:error") is None
    assert len(log) == len(list(log))
    log.clear()
    assert log.text("empty") == "--- empty: 0 events ---"


async def test_steps_go_forwards_and_back() -> None:
    diamond = Blueprint.from_dict(
        {
            "id": "d",
            "nodes": [
                {"id": "a", "uses": "one"},
                {"id": "b", "uses": "plus_one"},
                {"id": "c", "uses": "plus_one"},
                {"id": "d", "uses": "one"},
            ],
            "edges": [{"source": s, "target": t} for s, t in ("ab", "ac", "bd", "cd")],
        }
    )
    stepper = Stepper(runtime(), diamond)
    assert [stepper.result, list(stepper.ready), stepper.done] == [None, ["a"], False]
    first = await stepper.next()
    assert first is not None
    assert (sorted(first.records), first.status) == (["a"], "paused")
    assert list(stepper.ready) == ["b", "c"]
    second = await stepper.next()
    assert second is not None
    assert sorted(second.records) == ["a", "b", "c"]
    assert stepper.prev() == first
    assert list(stepper.ready) == ["b", "c"]
    await stepper.next()
    last = await stepper.next()
    assert last is not None
    assert (last.status, last.output, stepper.done) == ("completed", {"d": 1}, True)
    assert await stepper.next() is None
    stepper.reset()
    assert [stepper.result, list(stepper.ready), stepper.done] == [None, ["a"], False]
    assert stepper.prev() is None


async def test_a_stepper_asks_for_decisions_where_nothing_else_moves() -> None:
    stepper = Stepper(runtime(), line("one", "wait", "plus_one"))
    await stepper.next()
    waiting = await stepper.next()
    assert waiting is not None
    assert (waiting.status, stepper.ready) == ("awaiting", ())
    with pytest.raises(AppError, match="waits for n1; give next"):
        await stepper.next()
    await stepper.next({"n1": Decision(output=4)})
    last = await stepper.next()
    assert last is not None
    assert last.output == {"n2": 5}


async def test_a_step_that_sleeps_takes_no_time() -> None:
    clock = VirtualClock()
    stepper = Stepper(
        runtime(), line("one", ("sleep", {"duration": "7d"}), "plus_one"), None, clock.options()
    )
    while not stepper.done:
        await stepper.next()
    assert stepper.result is not None
    assert stepper.result.output == {"n2": 2}
    assert clock.monotonic() == 7 * 24 * 3600


async def test_seven_days_pass_in_milliseconds() -> None:
    clock = VirtualClock()
    began = time.perf_counter()
    result = await runtime().run(
        line("one", ("sleep", {"duration": "7d"}), "plus_one"), None, clock.options()
    )
    assert result.output == {"n2": 2}
    assert clock.monotonic() == 7 * 24 * 3600
    assert result.records["n1"].finished_at.startswith("2026-01-08T00:00:00")
    assert time.perf_counter() - began < 1.0


async def test_time_waits_for_nodes_that_run_in_threads() -> None:
    clock = VirtualClock()
    drawn = Blueprint.from_dict(
        {
            "id": "t",
            "nodes": [
                {"id": "a", "uses": "one"},
                {"id": "b", "uses": "slow_thread", "config": {"timeout": 1000}},
            ],
            "edges": [{"source": "a", "target": "b"}],
        }
    )
    result = await runtime().run(drawn, None, clock.options())
    assert (result.status, result.output) == ("completed", {"b": 1})
    assert clock.monotonic() == 0


async def test_sleepers_wake_in_the_order_of_their_times_and_cancelled_ones_do_not() -> None:
    clock, woken = VirtualClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    tasks = [asyncio.ensure_future(sleeper(seconds)) for seconds in (30, 10, 20)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert woken == [(20, 20), (30, 30)]

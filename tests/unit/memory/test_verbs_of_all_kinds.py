"""Steps, pauses, replays and second runs of a program that has every kind of node in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flowcraft import App, Blueprint, FlowRuntime, NodeContext
from flowcraft.event_bus import EventBus
from flowcraft.extensions import Extensions
from flowcraft.memory.control import RunControl
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import Decision, RunResult
from flowcraft.middleware import Middleware
from flowcraft.testing import EventLog, Stepper, VirtualClock


class Everything:
    """``list`` -> batch ``sizes`` -> loop of ``draft`` -> subflow ``inner`` -> sleep -> wait -> ``last``."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.log = EventLog()
        self.clock = VirtualClock()
        app = App("everything", extensions=Extensions(events=EventBus(self.log)))

        @app.node("lists")
        async def lists(ctx: NodeContext) -> list[int]:
            self.calls.append(ctx.node_key)
            return [1, 2, 3]

        @app.node("doubles")
        async def doubles(ctx: NodeContext) -> Any:
            self.calls.append(ctx.node_key)
            await ctx.context.set(f"did {ctx.node_key}", True)
            return ctx.input * 2 if isinstance(ctx.input, int) else ctx.input

        @app.node("counts")
        async def counts(ctx: NodeContext) -> int:
            self.calls.append(ctx.node_key)
            number = int(await ctx.context.get("rounds", 0)) + 1
            await ctx.context.set("rounds", number)
            return number

        app.flow("small", version="1").node("inside", uses="doubles")
        flow = app.flow("all", version="1")
        flow.node("list", uses="lists").batch("sizes", "doubles", inputs="list").node("draft", uses="counts")
        flow.loop("again", start="draft", end="draft", condition="rounds < 3")
        flow.subflow("inner", "small").sleep("nap", "2d").wait("ask").node("last", uses="doubles")
        flow.edge("list", "sizes").edge("sizes", "draft").edge("again", "inner").edge("inner", "nap")
        flow.edge("nap", "ask").edge("ask", "last")
        self.runtime = FlowRuntime(
            blueprints=app.blueprints.values(), registry=app.registry, extensions=app.extensions
        )
        self.blueprint: Blueprint = flow.to_blueprint()

    def options(self, **more: Any) -> RunOptions:
        return self.clock.options(run_id="r", **more)

    async def run(self, **more: Any) -> RunResult:
        return await self.runtime.run(self.blueprint, {"x": 1}, self.options(**more))

    async def end(self, result: RunResult) -> RunResult:
        return await self.runtime.resume(result, {"ask": Decision(output=21)}, self.options())


EXECUTED = [
    "list", "sizes_scatter[0]", "sizes_scatter[1]", "sizes_scatter[2]",
    "draft#1", "draft#2", "draft#3", "inside", "last",
]  # fmt: skip


def facts(result: RunResult) -> Any:
    """A result without times, and without what only its own run knows."""
    records = {
        key: replace(record, started_at="", finished_at="", waits_for=None, seq=record.seq * record.resolved)
        for key, record in result.records.items()
    }
    return replace(result, records=records, subflows={}, writes={})


async def test_it_runs_as_a_whole() -> None:
    all_kinds = Everything()
    waiting = await all_kinds.run()
    assert (waiting.status, waiting.awaiting) == ("awaiting", ("ask",))
    assert waiting.context["sizes"] == [2, 4, 6]
    ended = await all_kinds.end(waiting)
    assert (ended.status, ended.output) == ("completed", {"last": 42})
    assert sorted(all_kinds.calls) == sorted(EXECUTED)


async def test_middleware_wraps_what_has_code_wherever_it_stands() -> None:
    wrapped: list[str] = []

    class Notes(Middleware):
        async def before_node(self, ctx: NodeContext) -> None:
            wrapped.append(ctx.node_key)

    all_kinds = Everything()
    all_kinds.runtime.options.extensions.use(Notes())
    await all_kinds.end(await all_kinds.run())
    assert wrapped == all_kinds.calls


async def test_every_node_key_tells_its_start_and_its_end() -> None:
    all_kinds = Everything()
    ended = await all_kinds.end(await all_kinds.run())
    own = [event for event in all_kinds.log if event.execution_id == "r"]
    started = {event.node_key for event in own if event.type == "node:start"}  # type: ignore[attr-defined]
    finished = [event.node_key for event in own if event.type == "node:finish"]  # type: ignore[attr-defined]
    completed = {key for key, record in ended.records.items() if record.status == "completed"}
    assert completed == set(finished) == started
    assert len(finished) == len(completed)
    assert all_kinds.log.find("batch:start").worker_node_ids == tuple(EXECUTED[1:4])
    assert all_kinds.log.find("batch:finish").results == [2, 4, 6]
    children = {event.execution_id for event in all_kinds.log} - {"r"}
    assert len(children) == 1


async def test_its_replay_is_the_run_and_can_be_gone_on_with() -> None:
    all_kinds = Everything()
    waiting = await all_kinds.run()
    again = all_kinds.runtime.replay(all_kinds.blueprint, all_kinds.log.events, "r")
    assert facts(again).records == facts(waiting).records
    assert (again.status, again.awaiting, again.context) == ("awaiting", ("ask",), waiting.context)
    ended = await all_kinds.end(again)
    assert (ended.status, ended.output) == ("completed", {"last": 42})
    final = all_kinds.runtime.replay(all_kinds.blueprint, all_kinds.log.events, "r")
    assert (final.status, final.output) == ("completed", {"last": 42})
    assert sorted(all_kinds.calls) == sorted(EXECUTED)


@pytest.mark.parametrize("length", range(0, 90, 3))
async def test_a_run_goes_on_from_any_beginning_of_its_events(length: int) -> None:
    all_kinds = Everything()
    await all_kinds.end(await all_kinds.run())
    events = [event for event in all_kinds.log.events if event.execution_id == "r"][: length + 1]
    then = all_kinds.runtime.replay(all_kinds.blueprint, events)
    if then.status == "completed":
        return
    decisions = {"ask": Decision(output=21)} if "ask" in then.awaiting else {}
    result = await all_kinds.runtime.resume(then, decisions, all_kinds.options())
    ended = result if result.status == "completed" else await all_kinds.end(result)
    assert (ended.status, ended.output) == ("completed", {"last": 42})


@pytest.mark.parametrize(
    ("node", "executed"),
    [
        ("list", EXECUTED[:8]),
        ("sizes_scatter", EXECUTED[1:8]),
        ("draft", EXECUTED[4:8]),
        ("inner", ["inside"]),
        ("nap", []),
    ],
)
async def test_it_runs_again_from_each_node(node: str, executed: list[str]) -> None:
    all_kinds = Everything()
    waiting = await all_kinds.run()
    all_kinds.calls.clear()
    again = await all_kinds.runtime.rerun(waiting, node, all_kinds.options())
    assert sorted(all_kinds.calls) == sorted(executed)
    assert facts(again) == facts(waiting)


async def test_a_pause_at_each_node_changes_nothing_of_what_it_comes_to() -> None:
    for node in ("sizes_scatter", "sizes_gather", "draft", "again", "inner", "nap", "ask"):
        all_kinds = Everything()
        result = await all_kinds.run(control=RunControl(pause_before=[node]))
        assert result.status == "paused", node
        result = await all_kinds.runtime.resume(result, {}, all_kinds.options())
        assert (await all_kinds.end(result)).output == {"last": 42}, node
        assert sorted(all_kinds.calls) == sorted(EXECUTED), node


async def test_it_can_be_stepped_through() -> None:
    all_kinds = Everything()
    stepper = Stepper(all_kinds.runtime, all_kinds.blueprint, {"x": 1}, all_kinds.options())
    steps: list[tuple[str, ...]] = []
    while not stepper.done:
        steps.append(stepper.ready)
        waits = stepper.result is not None and stepper.result.status == "awaiting"
        await stepper.next({"ask": Decision(output=21)} if waits else None)
    assert stepper.result is not None
    assert stepper.result.output == {"last": 42}
    assert sorted(all_kinds.calls) == sorted(EXECUTED)
    assert steps[0] == ("list",)
    assert ("draft#2",) in steps
    assert all_kinds.clock.monotonic() == 2 * 24 * 3600


async def test_a_round_of_a_loop_can_be_given_by_hand() -> None:
    all_kinds = Everything()
    waiting = await all_kinds.run()
    all_kinds.calls.clear()
    patched = all_kinds.runtime.patch_context(waiting, {"rounds": 1})
    result = await all_kinds.runtime.complete(patched, {"draft#1": Decision(output=1)}, all_kinds.options())
    assert result.records["draft#1"].output == 1
    assert result.status == "awaiting"
    assert sorted(all_kinds.calls) == ["draft#2", "draft#3", "inside"]


async def test_a_decision_in_a_subflow_is_a_step() -> None:
    app = App("asks")
    app.flow("small", version="1").wait("ask")
    app.flow("all", version="1").subflow("inner", "small")
    runtime = FlowRuntime(blueprints=app.blueprints.values(), registry=app.registry)
    stepper = Stepper(runtime, app.blueprints["all"], {})
    waiting = await stepper.next()
    assert waiting is not None
    assert waiting.awaiting == ("inner/ask",)
    ended = await stepper.next({"inner/ask": Decision(output=1)})
    assert ended is not None
    assert (ended.status, stepper.done) == ("completed", True)


async def test_parts_of_it_can_be_run() -> None:
    all_kinds = Everything()
    result = await all_kinds.run(targets=["sizes_gather"])
    assert (result.status, result.output) == ("completed", {"sizes_gather": [2, 4, 6]})
    assert sorted(all_kinds.calls) == EXECUTED[:4]


async def test_cancelling_it_ends_its_subflow() -> None:
    all_kinds = Everything()
    control = RunControl()

    def cancel(event: Any) -> None:
        if event.node_id == "inside":
            control.cancel()

    all_kinds.runtime.options.extensions.events.subscribe(cancel, "node:start")
    result = await all_kinds.run(control=control)
    assert result.status == "cancelled"
    ends = {event.execution_id: event.status for event in all_kinds.log.filter("workflow:finish")}
    assert set(ends.values()) == {"cancelled"}

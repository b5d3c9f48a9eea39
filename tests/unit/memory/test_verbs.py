"""What can be done with a run in memory beside running it: parts, pauses, cancelling, going back, replay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from flowcraft import AppError, Blueprint, BlueprintError, FlowRuntime, NodeContext, NodeResult
from flowcraft.events import Event
from flowcraft.extensions import Extensions
from flowcraft.memory.control import RunControl
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import Decision, RunResult
from flowcraft.testing import EventLog, VirtualClock


def flow(*edges: str, **nodes: dict[str, Any]) -> Blueprint:
    """Edges such as ``"a b"``, with a condition after the second name; nodes use the code of their name."""
    parts = [edge.split(maxsplit=2) for edge in edges]
    ids = dict.fromkeys([name for part in parts for name in part[:2]] + list(nodes))
    return Blueprint.from_dict(
        {
            "id": "p",
            "nodes": [{"id": i, "uses": i, **nodes.get(i, {})} for i in ids],
            "edges": [
                {"source": s, "target": t, **({"condition": more[0]} if more else {})}
                for s, t, *more in parts
            ],
        }
    )


class Recorded:
    """Code of the nodes a to f: each notes its call and gives its input's number and one more."""

    def __init__(self, **extensions: Any) -> None:
        self.calls: list[str] = []
        self.fail: set[str] = set()
        self.log = EventLog()
        self.runtime = FlowRuntime(
            registry=dict.fromkeys("abcdef", self.code), extensions=Extensions(**extensions)
        )

    def listen(self) -> EventLog:
        self.runtime.options.extensions.events.subscribe(self.log)
        return self.log

    async def code(self, ctx: NodeContext) -> int:
        self.calls.append(ctx.node_id)
        if ctx.node_id in self.fail:
            raise RuntimeError("told to fail")
        await ctx.context.set("last", ctx.node_id)
        await ctx.context.set(f"by {ctx.node_id}", True)
        return (ctx.input if isinstance(ctx.input, int) else 0) + 1

    async def run(self, drawn: Blueprint, given: Any = None, **options: Any) -> RunResult:
        return await self.runtime.run(drawn, given, RunOptions(**options))


# ---- parts of a blueprint ----


async def test_a_partial_run_runs_its_targets_and_what_lies_before_them() -> None:
    recorded = Recorded()
    result = await recorded.run(flow("a b", "b c", "a d", "d e", "c f", "e f"), targets=["c"])
    assert recorded.calls == ["a", "b", "c"]
    assert (result.status, result.output) == ("completed", {"c": 3})


async def test_a_partial_run_keeps_the_fallback_of_what_it_runs() -> None:
    recorded = Recorded()
    recorded.fail = {"a"}
    drawn = flow("a b", "b c", a={"config": {"fallback": "d"}}, d={})
    result = await recorded.run(drawn, targets=["b"])
    assert recorded.calls == ["a", "d", "b"]
    assert result.status == "completed"
    assert (result.records["a"].fallback, result.records["b"].fallback) == (True, False)


async def test_a_target_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AppError, match="has no node 'x'; it has a, b"):
        await Recorded().run(flow("a b"), targets=["x"])


async def test_inputs_of_nodes_can_be_given_in_their_place() -> None:
    result = await Recorded().run(flow("a b", "b c"), inputs={"b": 40})
    assert result.output == {"c": 42}
    assert result.records["a"].output == 1


async def test_strict_mode_refuses_cycles() -> None:
    drawn = flow("a b", "b a", "b c")
    with pytest.raises(BlueprintError, match="strict mode refuses: "):
        await FlowRuntime(registry=dict.fromkeys("abc", Recorded().code), strict=True).run(drawn)
    with pytest.raises(BlueprintError, match="strict mode refuses: "):
        await Recorded().run(drawn, strict=True)


# ---- pausing and cancelling ----


async def test_a_paused_run_lets_nodes_end_and_goes_on_where_it_was() -> None:
    control = RunControl()
    recorded = Recorded()

    async def pausing(ctx: NodeContext) -> str:
        control.pause()
        return "done"

    runtime = FlowRuntime(registry={**dict.fromkeys("abc", recorded.code), "p": pausing})
    paused = await runtime.run(flow("a p", "p b", "b c"), None, RunOptions(control=control))
    assert (paused.status, paused.output, recorded.calls) == ("paused", None, ["a"])
    assert paused.records["p"].output == "done"
    result = await runtime.resume(paused)
    assert (result.status, recorded.calls) == ("completed", ["a", "b", "c"])
    assert paused.status == "paused"


async def test_a_run_can_pause_before_a_node_while_other_branches_go_on() -> None:
    recorded = Recorded()
    drawn = flow("a b", "b c", "a d")
    paused = await recorded.run(drawn, control=RunControl(pause_before=["c"]))
    assert paused.status == "paused"
    assert sorted(recorded.calls) == ["a", "b", "d"]
    assert (await recorded.runtime.resume(paused)).output == {"c": 3, "d": 2}


async def test_a_sleep_that_a_pause_interrupts_ends_when_it_would_have_ended() -> None:
    clock, control = VirtualClock(), RunControl()
    recorded = Recorded()

    async def pausing(_ctx: NodeContext) -> None:
        await clock.sleep(3600)
        control.pause()

    runtime = FlowRuntime(registry={**dict.fromkeys("ab", recorded.code), "p": pausing})
    drawn = flow("a s", "s b", "a p", s={"uses": "sleep", "params": {"duration": "2h"}})
    paused = await runtime.run(drawn, None, clock.options(control=control))
    assert (paused.status, clock.monotonic()) == ("paused", 3600)
    result = await runtime.resume(paused, options=clock.options())
    assert (result.status, clock.monotonic(), recorded.calls) == ("completed", 7200, ["a", "b"])


async def test_a_signal_cancels_the_run_and_tells_what_executes() -> None:
    signal, told = asyncio.Event(), []

    async def a(ctx: NodeContext) -> None:
        signal.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.append(ctx.cancelled.is_set())

    recorded = Recorded()
    log = EventLog()
    runtime = FlowRuntime(registry={"a": a, "b": recorded.code}, extensions=Extensions())
    runtime.options.extensions.events.subscribe(log)
    result = await runtime.run(flow("a b"), None, RunOptions(signal=signal))
    assert (result.status, told, recorded.calls) == ("cancelled", [True], [])
    assert [event.status for event in log.filter("workflow:finish")] == ["cancelled"]


async def test_a_signal_that_is_set_lets_nothing_begin() -> None:
    signal = asyncio.Event()
    signal.set()
    recorded = Recorded()
    assert (await recorded.run(flow("a b"), signal=signal)).status == "cancelled"
    assert recorded.calls == []


# ---- going back ----


async def test_a_node_and_all_behind_it_run_again_with_what_was_before() -> None:
    recorded = Recorded()
    first = await recorded.run(flow("a b", "b c", "a d"))
    recorded.calls.clear()
    again = await recorded.runtime.rerun(first, "b", RunOptions(inputs={"b": 10}))
    assert recorded.calls == ["b", "c"]
    assert again.output == {"c": 12, "d": 2}
    assert first.output == {"c": 3, "d": 2}


async def test_context_written_behind_the_node_is_gone_when_it_runs_again() -> None:
    seen: list[Any] = []

    async def look(ctx: NodeContext) -> None:
        seen.append([await ctx.context.get("last"), await ctx.context.get("by c")])

    runtime = FlowRuntime(registry={"a": Recorded().code, "b": look, "c": Recorded().code})
    first = await runtime.run(flow("a b", "b c"))
    assert first.context["last"] == "c"
    await runtime.rerun(first, "b")
    assert seen == [["a", None], ["a", None]]


async def test_a_failed_run_goes_on_from_the_node_that_failed() -> None:
    recorded = Recorded()
    recorded.fail = {"b"}
    failed = await recorded.run(flow("a b", "b c"))
    assert failed.status == "failed"
    recorded.fail.clear()
    recorded.calls.clear()
    result = await recorded.runtime.rerun(failed, "b")
    assert (result.status, result.errors, recorded.calls) == ("completed", (), ["b", "c"])


async def test_a_run_can_be_rolled_back_patched_and_resumed() -> None:
    recorded = Recorded()
    first = await recorded.run(flow("a b", "b c"))
    back = recorded.runtime.rollback(first, "c")
    assert (back.status, sorted(back.records), back.context["last"]) == ("paused", ["a", "b"], "b")
    result = await recorded.runtime.resume(recorded.runtime.patch_context(back, {"x": 1}))
    assert (result.output, result.context["x"], recorded.calls) == ({"c": 3}, 1, ["a", "b", "c", "c"])


async def test_a_start_node_can_run_again() -> None:
    recorded = Recorded()
    first = await recorded.run(flow("a b"))
    assert (await recorded.runtime.rerun(first, "a")).output == {"b": 2}
    assert recorded.calls == ["a", "b", "a", "b"]


async def test_a_node_that_was_not_come_to_cannot_run_again() -> None:
    recorded = Recorded()
    first = await recorded.run(flow("a b", "a c result.output > 5"))
    with pytest.raises(AppError, match="never came to node 'c'"):
        await recorded.runtime.rerun(first, "c")
    with pytest.raises(AppError, match="has no node 'x'"):
        await recorded.runtime.rerun(first, "x")


async def test_a_result_given_by_hand_takes_the_place_of_a_failure() -> None:
    recorded = Recorded()
    recorded.fail = {"b"}
    failed = await recorded.run(flow("a b", "b c"))
    recorded.calls.clear()
    result = await recorded.runtime.complete(failed, {"b": Decision(output=100)})
    assert (result.status, result.output, recorded.calls) == ("completed", {"c": 101}, ["c"])


async def test_a_patched_context_is_what_the_rest_of_the_run_reads() -> None:
    async def reads(ctx: NodeContext) -> list[Any]:
        return [
            await ctx.context.get("last"),
            await ctx.context.get("by a", "none"),
            await ctx.context.get("x"),
        ]

    recorded = Recorded()
    runtime = FlowRuntime(registry={"a": recorded.code, "b": reads})
    drawn = flow("a w", "w b", w={"uses": "wait"})
    waiting = await runtime.run(drawn)
    patched = runtime.patch_context(waiting, {"last": "patched", "x": {1}}, delete=["by a"])
    result = await runtime.resume(patched, {"w": Decision()})
    assert result.records["b"].output == ["patched", "none", {"$type": "set", "value": [1]}]
    assert waiting.context == {"last": "a", "by a": True}


# ---- replay ----


async def replayed(recorded: Recorded, drawn: Blueprint, given: Any = None) -> tuple[RunResult, RunResult]:
    log = recorded.listen()
    result = await recorded.run(drawn, given)
    calls = list(recorded.calls)
    again = recorded.runtime.replay(drawn, log.events)
    assert recorded.calls == calls
    return result, again


def same(replayed: RunResult, original: RunResult) -> None:
    def facts(result: RunResult) -> Any:
        records = {
            key: replace(record, started_at="", finished_at="") for key, record in result.records.items()
        }
        return replace(result, records=records)

    assert facts(replayed) == facts(original)


@pytest.mark.parametrize(
    "drawn",
    [
        flow("a b", "a c", "b d", "c d"),
        flow("a b result.output > 5", "a c", "b d", "c d"),
        flow("a b result.output > 5", "b c", "a d"),
    ],
)
async def test_a_replay_comes_to_the_same_without_executing(drawn: Blueprint) -> None:
    result, again = await replayed(Recorded(), drawn, {"x": 1})
    same(again, result)


async def test_a_replayed_failure_is_a_failure() -> None:
    recorded = Recorded()
    recorded.fail = {"b"}
    result, again = await replayed(recorded, flow("a b", "b c"))
    assert again.status == "failed"
    same(again, result)


async def test_a_replayed_run_that_waits_can_be_resumed_and_run_again() -> None:
    recorded = Recorded()
    result, again = await replayed(recorded, flow("a w", "w b", w={"uses": "wait"}))
    assert (again.status, again.awaiting) == ("awaiting", ("w",)) == (result.status, result.awaiting)
    ended = await recorded.runtime.resume(again, {"w": Decision(output=7)})
    assert ended.output == {"b": 8}
    assert (await recorded.runtime.rerun(again, "a")).status == "awaiting"


async def test_a_replay_up_to_an_event_shows_the_run_as_it_was_then() -> None:
    recorded = Recorded()
    log = recorded.listen()
    drawn = flow("a b", "b c")
    await recorded.run(drawn)
    until = log.events.index(log.filter("edge:evaluate")[0]) + 1
    then = recorded.runtime.replay(drawn, log.events[:until])
    assert (then.status, sorted(then.records), then.context["last"]) == ("paused", ["a"], "a")
    assert (await recorded.runtime.resume(then)).output == {"c": 3}


async def test_a_replay_takes_the_events_of_one_run_and_knows_another_blueprint() -> None:
    recorded = Recorded()
    log = recorded.listen()
    drawn = flow("a b")
    await recorded.run(drawn, run_id="one")
    await recorded.run(drawn, run_id="two")
    mixed: list[Event] = sorted(log.events, key=lambda event: event.type)
    assert {event.execution_id for event in mixed} == {"one", "two"}
    assert recorded.runtime.replay(drawn, log.events, "two").run_id == "two"
    with pytest.raises(AppError, match="no event of run 'three'"):
        recorded.runtime.replay(drawn, log.events, "three")
    with pytest.raises(AppError, match="of another blueprint"):
        recorded.runtime.replay(flow("c d"), log.events)


async def test_a_run_cannot_be_steered_by_nodes_that_only_stand_in() -> None:
    async def gives(_ctx: NodeContext) -> NodeResult:
        return NodeResult(1)

    runtime = FlowRuntime(registry={"a": gives, "b": gives})
    first = await runtime.run(flow("a c", a={"config": {"fallback": "b"}}, b={}, c={"uses": "a"}))
    with pytest.raises(AppError, match="no node 'b' that could be run again"):
        await runtime.rerun(first, "b")

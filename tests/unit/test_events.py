"""Events: all 18 types as documents, when runs in memory tell them, and that no listener can harm a run."""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError, fields
from typing import Any

import orjson
import pytest
import structlog

from flowcraft import Blueprint, FatalError, FlowRuntime, NodeContext, NodeResult
from flowcraft.event_bus import EventBus
from flowcraft.events import (
    EVENTS,
    ContextChanged,
    EdgeEvaluated,
    Event,
    NodeFinished,
    WorkflowStarted,
    event_from,
)
from flowcraft.extensions import Extensions
from flowcraft.memory.result import Decision
from flowcraft.testing import EventLog, VirtualClock

NAMES = [
    "workflow:start",
    "workflow:resume",
    "workflow:stall",
    "workflow:pause",
    "workflow:finish",
    "node:start",
    "node:finish",
    "node:error",
    "node:fallback",
    "node:retry",
    "node:skipped",
    "edge:evaluate",
    "context:change",
    "job:enqueued",
    "job:processed",
    "job:failed",
    "batch:start",
    "batch:finish",
]
SAMPLES: dict[str, Any] = {
    "status": "failed",
    "errors": ({"nodeKey": "a"},),
    "error": {"type": "E", "message": "m"},
    "fallback": "f",
    "attempt": 2,
    "source": "a",
    "target": "b",
    "position": 3,
    "result": True,
    "key": "k",
    "duration_s": 1.5,
    "batch_id": "b",
    "scatter_node_id": "s",
    "gather_node_id": "g",
    "worker_node_ids": ("s[0]", "s[1]"),
    "node_id": "n",
    "node_key": "n#2",
}


def sample(kind: type[Event]) -> Event:
    known = {field.name for field in fields(kind)}
    given = {name: value for name, value in SAMPLES.items() if name in known}
    return kind(execution_id="run", blueprint_id="p", at="2026-01-31T08:00:00.000Z", **given)


def test_there_are_the_originals_18_types() -> None:
    assert [kind.type for kind in EVENTS] == NAMES


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.type)
def test_an_event_is_a_value_that_comes_back_from_its_document(kind: type[Event]) -> None:
    event = sample(kind)
    document = orjson.loads(orjson.dumps(event.to_document()))
    assert document["type"] == kind.type
    assert document["payload"]["executionId"] == "run"
    assert event_from(document) == event
    with pytest.raises(FrozenInstanceError):
        event.execution_id = "other"  # type: ignore[misc]


@pytest.mark.parametrize("value", ["", None, 0, False, [], {}, {"a": ""}])
def test_values_that_are_empty_come_back_as_they_were(value: Any) -> None:
    changed = ContextChanged(execution_id="r", key="k", value=value)
    assert event_from(changed.to_document()) == changed
    finished = NodeFinished(execution_id="r", node_id="n", output=value, action="")
    assert event_from(finished.to_document()) == finished


def test_documents_of_newer_versions_are_read_and_broken_ones_are_told() -> None:
    assert event_from(
        {"type": "workflow:start", "payload": {"executionId": "r", "later": 1}}
    ) == WorkflowStarted(execution_id="r")
    with pytest.raises(ValueError, match="no event type 'x'"):
        event_from({"type": "x"})
    with pytest.raises(ValueError, match="node:retry is incomplete"):
        event_from({"type": "node:retry", "payload": {"executionId": "r"}})


# ---- what a run tells ----


def flow(*edges: str, **nodes: dict[str, Any]) -> Blueprint:
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


async def told(drawn: Blueprint, given: Any = None, **code: Any) -> EventLog:
    log = EventLog()
    runtime = FlowRuntime(registry=code, extensions=Extensions(events=EventBus(log)))
    await runtime.run(drawn, given, VirtualClock().options(run_id="r"))
    return log


async def writes(ctx: NodeContext) -> NodeResult:
    await ctx.context.set("x", 1)
    await ctx.context.delete("y")
    return NodeResult({"n": 1})


async def nothing(_ctx: NodeContext) -> None:
    """Gives nothing."""


def about(event: Event) -> str:
    """The node, the key or the target that an event is about."""
    names = [name for name in ("node_key", "key", "target") if hasattr(event, name)]
    return str(getattr(event, names[0])) if names else ""


async def test_a_run_tells_each_thing_once_and_in_order() -> None:
    drawn = flow("a b result.output.n == 1", "a c result.output.n == 2")
    log = await told(drawn, {"i": 5}, a=writes, b=nothing, c=nothing)
    assert [(event.type, about(event)) for event in log] == [
        ("workflow:start", ""),
        ("node:start", "a"),
        ("context:change", "x"),
        ("context:change", "y"),
        ("node:finish", "a"),
        ("edge:evaluate", "b"),
        ("edge:evaluate", "c"),
        ("node:skipped", "c"),
        ("node:start", "b"),
        ("node:finish", "b"),
        ("workflow:finish", ""),
    ]  # fmt: skip
    assert {event.execution_id for event in log} == {"r"}
    assert {event.blueprint_id for event in log} == {"p"}
    assert log.find("node:start").input == {"i": 5}
    assert [(event.op, event.value) for event in log.filter("context:change")] == [
        ("set", 1),
        ("delete", None),
    ]
    assert [(event.condition, event.result) for event in log.filter(EdgeEvaluated)] == [
        ("result.output.n == 1", True),
        ("result.output.n == 2", False),
    ]
    assert log.find("workflow:finish").output == {"b": None}


async def test_retries_fallbacks_and_failures_are_told() -> None:
    async def breaks(_ctx: NodeContext) -> None:
        raise RuntimeError("broken")

    async def stops(_ctx: NodeContext) -> None:
        raise FatalError("no")

    log = await told(
        flow("a b", a={"config": {"maxRetries": 3, "retryDelay": 10_000, "fallback": "f"}}, f={}),
        a=breaks,
        f=nothing,
        b=stops,
    )
    assert [event.attempt for event in log.filter("node:retry")] == [1, 2]
    assert [event.attempt for event in log.filter("node:start", node_id="a")] == [1, 2, 3]
    assert log.find("node:fallback").fallback == "f"
    assert log.find("node:fallback").error["message"] == "broken"
    assert log.filter(NodeFinished)[0].attempt == 4
    assert log.find("node:error").error["type"] == "FatalError"
    assert log.find("workflow:finish").errors[0]["nodeKey"] == "b"


async def test_waiting_is_a_start_a_pause_and_a_resumption() -> None:
    log = EventLog()
    runtime = FlowRuntime(registry={"a": nothing}, extensions=Extensions(events=EventBus(log)))
    waiting = await runtime.run(flow("a w", w={"uses": "wait"}))
    assert log.types[-2:] == ["node:start", "workflow:pause"]
    log.clear()
    await runtime.resume(waiting, {"w": Decision(output=1)})
    assert log.types == ["workflow:resume", "node:finish", "workflow:finish"]


async def test_a_sleep_tells_how_long_it_was() -> None:
    log = await told(flow("a s", s={"uses": "sleep", "params": {"duration": "7d"}}), a=nothing)
    assert log.find(NodeFinished, node_id="s").duration_s == 7 * 24 * 3600  # type: ignore[union-attr]


# ---- who listens ----


async def test_nobody_listening_makes_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr("flowcraft.telemetry.Telemetry.__init__", lambda *given: made.append(given))
    await FlowRuntime(registry={"a": nothing}).run(flow(a={}))
    assert made == []


async def test_a_subscriber_that_raises_harms_nobody() -> None:
    log = EventLog()

    def broken(_event: Event) -> None:
        raise RuntimeError("subscriber")

    async def broken_later(_event: Event) -> None:
        raise RuntimeError("subscriber")

    class BrokenStore:
        async def store_many(self, _events: Any) -> None:
            raise RuntimeError("store")

    bus = EventBus(broken, broken_later, log)
    bus.subscribe(BrokenStore())
    with structlog.testing.capture_logs() as logs:
        result = await FlowRuntime(registry={"a": nothing}, extensions=Extensions(events=bus)).run(flow(a={}))
    assert result.status == "completed"
    assert len(log) == 4
    assert [line["event"] for line in logs].count("an event subscriber failed") == 4 + 4 + 1


async def test_async_subscribers_get_events_in_order_and_are_awaited_at_the_end_of_a_run() -> None:
    heard: list[str] = []

    async def slow(event: Event) -> None:
        await asyncio.sleep(0)
        heard.append(event.type)

    log = EventLog()
    runtime = FlowRuntime(registry={"a": nothing}, extensions=Extensions(events=EventBus(slow, log)))
    await runtime.run(flow(a={}))
    assert heard == log.types


def test_a_subscriber_hears_of_runs_in_one_loop_after_another() -> None:
    heard: list[str] = []

    async def hears(event: Event) -> None:
        await asyncio.sleep(0)
        heard.append(event.execution_id)

    bus = EventBus(hears)

    async def tell(run_id: str) -> None:
        bus.emit(WorkflowStarted(execution_id=run_id))

    asyncio.run(tell("lost with its loop"))
    bus.emit(WorkflowStarted(execution_id="outside of a loop"))

    async def tell_and_wait() -> None:
        await tell("second")
        await bus.drain()

    asyncio.run(tell_and_wait())
    assert heard[-2:] == ["outside of a loop", "second"]


async def test_subscriptions_are_for_some_types_and_can_be_ended() -> None:
    bus, heard = EventBus(), EventLog()
    end = bus.subscribe(heard, "node:finish", WorkflowStarted)
    assert bus.listening
    runtime = FlowRuntime(registry={"a": nothing}, extensions=Extensions(events=bus))
    await runtime.run(flow(a={}))
    assert heard.types == ["workflow:start", "node:finish"]
    end()
    end()
    assert not bus.listening
    with pytest.raises(ValueError, match="there is no event type 'node:done'; there are workflow:start"):
        bus.subscribe(heard, "node:done")

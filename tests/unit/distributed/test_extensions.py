"""Events, middleware, serializers, evaluators, loggers and traces of runs that workers carry out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from decimal import Decimal
from typing import Any, cast

import structlog
from tests.unit.distributed.bench import ENDS, bench

from flowcraft import App, NodeContext, NodeResult
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.events import Event, JobProcessed, NodeFinished
from flowcraft.extensions import Extensions
from flowcraft.middleware import Middleware, Next
from flowcraft.ports import Commit, FactStore
from flowcraft.ports.errors import BackendUnavailableError
from flowcraft.testing import EventLog


class QuickClock(SystemClock):
    """Delays between tries are over at once."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


def branching(**extensions: Any) -> tuple[App, EventLog]:
    """``a`` -> ``b`` and ``c`` -> ``d``; and ``a`` -> ``never``, which is skipped."""
    app, log = App("told", extensions=Extensions(**extensions)), EventLog()
    app.extensions.events.subscribe(log)

    @app.node("a")
    async def a(ctx: NodeContext) -> dict[str, int]:
        await ctx.context.set("seen", 1)
        return {"n": 1}

    @app.node("b")
    async def b(_ctx: NodeContext) -> int:
        return 2

    flow = app.flow("order", version="1").node("a")
    for name in ("b", "c", "d", "never"):
        flow.node(name, uses="b")
    flow.edge("a", "b").edge("a", "c").edge("b", "d").edge("c", "d")
    flow.edge("a", "never", condition="result.output.n > 1")
    return app, log


async def test_workers_tell_what_runs_in_memory_tell_and_their_messages() -> None:
    app, log = branching()
    async with bench(app, workers=2) as here:
        header = await here.run("order", {"x": 1})
    assert header["status"] == "completed"
    assert Counter(log.types) == Counter(
        {
            "workflow:start": 1,
            "node:start": 4,
            "context:change": 1,
            "node:finish": 4,
            "edge:evaluate": 5,
            "node:skipped": 1,
            "job:enqueued": 1,
            "job:processed": 2,
            "workflow:finish": 1,
        }
    )
    assert {event.execution_id for event in log} == {header["runId"]}
    assert {event.blueprint_id for event in log} == {"order"}
    assert log.find("workflow:start").input == {"x": 1}
    assert log.find("workflow:finish").output == {"d": 2}
    assert log.find("node:skipped").node_id == "never"
    assert [(event.key, event.value, event.source_node) for event in log.filter("context:change")] == [
        ("seen", 1, "a")
    ]
    assert sorted(event.node_id for event in log.filter(NodeFinished)) == ["a", "b", "c", "d"]
    assert all(event.success and event.queue_name == "q" for event in log.filter(JobProcessed))
    order = log.types
    assert order[0] == "workflow:start"
    assert order.index("node:finish") < order.index("edge:evaluate")


class LosesAnswers:
    """A fact store whose every commit happens, and whose first answer for each is lost."""

    def __init__(self, facts: FactStore) -> None:
        self._facts = facts
        self._lost: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._facts, name)

    async def commit(self, run_id: str, commit: Commit, session: str = "") -> str:
        answer = await self._facts.commit(run_id, commit, session)
        keys = "".join(record.key for record in commit.create)
        if keys not in self._lost:
            self._lost.add(keys)
            raise BackendUnavailableError("the answer was lost")
        return answer


async def test_what_was_recorded_is_told_once_when_its_answer_was_lost() -> None:
    app, log = branching()
    async with open_embedded(":memory:", "q", SystemClock()) as backend:
        facts = cast("FactStore", LosesAnswers(backend.facts))
        async with bench(
            app, 1, Client("q", backend.queue, facts, backend.coordination, QuickClock())
        ) as here:
            await here.run("order", {})
    assert Counter(log.types)["node:finish"] == 4
    assert Counter(log.types)["node:skipped"] == 1
    assert Counter(log.types)["context:change"] == 1


async def test_waiting_failing_and_unreadable_messages_are_told() -> None:
    app, log = App("told"), EventLog()
    app.extensions.events.subscribe(log)

    @app.node("breaks", retries=1)
    async def breaks(_ctx: NodeContext) -> None:
        raise RuntimeError("broken")

    app.flow("waits", version="1").wait("ask").node("breaks").edge("ask", "breaks")
    async with bench(app) as here:
        run_id = await here.client.start_workflow("waits", {})
        await here.until(run_id, lambda header: header["status"] == "awaiting" and "pause" in str(log.types))
        assert log.types.count("workflow:pause") == 1
        assert log.find("node:start").node_id == "ask"
        await here.client.decide(run_id, "ask", action="go", output=1)
        header = await here.until(run_id, lambda header: header["status"] in ENDS)
        await here.queue.send("no message")
        await here.until(run_id, lambda _: log.filter("job:failed"))
    assert header["status"] == "failed"
    assert log.types.count("workflow:resume") == 1
    assert log.find("node:retry").attempt == 1
    assert log.find("node:error").error["message"] == "broken"
    finish = log.find("workflow:finish")
    assert (finish.status, finish.errors[0]["nodeKey"]) == ("failed", "breaks")
    assert log.find("job:failed").error["type"] == "MessageError"
    assert [event.success for event in log.filter(JobProcessed)][-1] is False


async def test_a_listener_that_raises_changes_nothing() -> None:
    app, log = branching()

    @app.on()
    def broken(_event: Event) -> None:
        raise RuntimeError("listener")

    @app.on()
    async def broken_later(_event: Event) -> None:
        raise RuntimeError("listener")

    with structlog.testing.capture_logs() as logs:
        async with bench(app) as here:
            header = await here.run("order")
    assert header["status"] == "completed"
    assert len([line for line in logs if line["event"] == "an event subscriber failed"]) == 2 * len(log)


async def test_middleware_wraps_nodes_on_workers() -> None:
    class Doubles(Middleware):
        async def around_node(self, ctx: NodeContext, following: Next) -> Any:
            await ctx.context.set(f"by {ctx.node_key}", True)
            result = await following()
            return NodeResult({"n": 2}) if ctx.node_id == "a" else result.output * 10

    app, _ = branching(middleware=[Doubles()])
    async with bench(app) as here:
        header = await here.run("order")
    assert header["output"] == {"d": 20, "never": 20}


async def test_values_survive_between_workers() -> None:
    app = App("values")
    seen: list[Any] = []

    @app.node("gives")
    async def gives(ctx: NodeContext) -> Any:
        seen.append(ctx.input)
        await ctx.context.set("due", date(2026, 2, 1))
        return {"price": Decimal("1.10"), "tags": {"x"}}

    @app.node("reads")
    async def reads(ctx: NodeContext) -> Any:
        seen.append([ctx.input, await ctx.context.get("due")])
        return None

    flow = app.flow("f", version="1").node("gives").node("reads").wait("ask").node("again", uses="reads")
    flow.edge("gives", "reads").edge("reads", "ask").edge("ask", "again")
    async with bench(app) as here:
        run_id = await here.client.start_workflow("f", {"at": date(2026, 1, 1), "$type": "mine"})
        await here.until(run_id, lambda header: header["status"] == "awaiting")
        await here.client.decide(run_id, "ask", output={Decimal(2)})
        header = await here.until(run_id, lambda header: header["status"] in ENDS)
    assert header["status"] == "completed", header.get("errors")
    assert seen == [
        {"at": date(2026, 1, 1), "$type": "mine"},
        [{"price": Decimal("1.10"), "tags": {"x"}}, date(2026, 2, 1)],
        [{Decimal(2)}, date(2026, 2, 1)],
    ]


async def test_an_app_brings_its_evaluator_and_its_logger() -> None:
    class Backwards(ExpressionEvaluator):
        def condition(self, expression: str, scope: Mapping[str, Any]) -> bool:
            return not super().condition(expression, scope)

    lines: list[tuple[str, Mapping[str, Any]]] = []

    class Lines:
        def __init__(self, facts: Mapping[str, Any]) -> None:
            self.facts = facts

        def bind(self, **facts: Any) -> Lines:
            return Lines({**self.facts, **facts})

        def info(self, text: str, **facts: Any) -> None:
            lines.append((text, {**self.facts, **facts}))

        warning = error = exception = debug = info

    app, _ = branching(evaluator=Backwards(), logger=Lines({"app": "mine"}))

    @app.node("tells")
    async def tells(ctx: NodeContext) -> None:
        ctx.logger.info("hello")

    app.flow("t", version="1").node("tells")
    async with bench(app) as here:
        assert set((await here.run("order"))["output"] or {}) == {"d", "never"}
        run = await here.run("t")
    told = {"app": "mine", "run_id": run["runId"], "node_key": "tells", "attempt": 1}
    assert lines == [("hello", told)]


class Chain:
    """Traces that count: each message belongs to a trace, numbered where it begins."""

    def __init__(self) -> None:
        self.now: ContextVar[str] = ContextVar("trace", default="")
        self.attached_to: list[str] = []

    def carrier(self) -> str:
        return self.now.get()

    @contextmanager
    def running(self, run_id: str, blueprint_id: str) -> Iterator[None]:
        yield

    @contextmanager
    def attached(self, traceparent: str) -> Iterator[None]:
        self.attached_to.append(traceparent)
        before = self.now.set(traceparent or "first")
        try:
            yield
        finally:
            self.now.reset(before)


async def test_traces_are_carried_by_messages() -> None:
    chain = Chain()
    app, _ = branching(tracing=chain)
    async with bench(app) as here:
        await here.run("order")
    assert chain.attached_to == ["", "first"]


async def test_suspended_resumed_and_cancelled_runs_are_told() -> None:
    app, log = App("told"), EventLog()
    app.extensions.events.subscribe(log)
    gate, cancelled = asyncio.Event(), asyncio.Event()

    @app.node("first")
    async def first(_ctx: NodeContext) -> None:
        await gate.wait()

    @app.node("second")
    async def second(ctx: NodeContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if ctx.cancelled.is_set():
                cancelled.set()

    app.flow("f", version="1").node("first").node("second").edge("first", "second")
    async with bench(app) as here:
        run_id = await here.client.start_workflow("f", {})
        await here.until(run_id, lambda _: log.filter("node:start", node_id="first"))
        await here.client.suspend(run_id)
        gate.set()
        await here.until(run_id, lambda _: log.find("workflow:pause"))
        await here.client.resume(run_id)
        await here.until(run_id, lambda _: log.filter("node:start", node_id="second"))
        await here.client.cancel(run_id)
        await here.until(run_id, lambda _: log.find("workflow:finish"))
        await cancelled.wait()
    assert log.types.count("workflow:pause") == log.types.count("workflow:resume") == 1
    assert [event.status for event in log.filter("workflow:finish")] == ["cancelled"]


async def test_reconciliation_tells_of_stalled_runs() -> None:
    app, log = branching()
    clock = SystemClock()
    async with open_embedded(":memory:", "q", clock) as backend:
        client = Client("q", backend.queue, backend.facts, backend.coordination, clock)
        run_id = await client.start_workflow("order", {})
        blueprint = app.blueprints["order"]
        await client.start(RunRequest(run_id="pinned", blueprint_id="order"), blueprint)
        reconciler = Reconciler(client, "r", stalled_threshold_s=0.0, events=app.extensions.events)
        stats = await reconciler.run()
    assert stats.stalled_runs == len(log) == 2
    remaining = {event.execution_id: event.remaining_nodes for event in log.filter("workflow:stall")}
    assert remaining == {run_id: 0, "pinned": 5}


async def test_blueprints_may_be_in_a_language_that_only_the_app_reads() -> None:
    class Words:
        def reads(self, _expression: str) -> frozenset[tuple[str, ...]]:
            return frozenset()

        def condition(self, expression: str, scope: Mapping[str, Any]) -> bool:
            return expression == "whenever n is one" and scope["result"]["output"]["n"] == 1

        def transform(self, _expression: str, _scope: Mapping[str, Any]) -> Any:
            return None

    app = App("words", extensions=Extensions(evaluator=Words()))

    @app.node("a")
    async def a(_ctx: NodeContext) -> dict[str, int]:
        return {"n": 1}

    app.flow("f", version="1").node("a").node("b", uses="a").edge("a", "b", condition="whenever n is one")
    async with bench(app) as here:
        assert (await here.run("f"))["output"] == {"b": {"n": 1}}

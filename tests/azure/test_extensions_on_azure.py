"""What an app brings along, on Azure's services: the same as on one machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.unit.distributed.bench import bench

from flowcraft import App, Extensions, FlowRuntime, NodeContext
from flowcraft.history import SqliteEventStore
from flowcraft.middleware import Middleware, Next
from flowcraft.testing import EventLog
from flowcraft_azure import AzureBackend
from flowcraft_opentelemetry import instrument

pytestmark = pytest.mark.emulators


@dataclass
class Price:
    amount: Decimal
    tags: set[str]


class Stamps(Middleware):
    async def around_node(self, ctx: NodeContext, following: Next) -> Any:
        await ctx.context.set(f"by {ctx.node_key}", True)
        return await following()


async def test_events_middleware_values_traces_and_history(backend: AzureBackend, tmp_path: Path) -> None:
    app, log, spans = App("azure"), EventLog(), InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    instrument(app.extensions, tracer_provider=tracers)
    store = SqliteEventStore(tmp_path / "events.db")
    app.extensions.events.subscribe(log)
    app.extensions.events.subscribe(store)
    app.use(Stamps())

    @app.node("price")
    async def price(_ctx: NodeContext) -> Any:
        return Price(Decimal("1.10"), {"new"})

    @app.node("reads")
    async def reads(ctx: NodeContext) -> Any:
        return [str(ctx.input.amount), sorted(ctx.input.tags), await ctx.context.get("by price")]

    flow = app.flow("order", version="1").node("price").node("b", uses="reads").node("c", uses="reads")
    flow.edge("price", "b").edge("price", "c", condition="result.output.amount.value == '2'")
    async with bench(app, 2, backend) as here:
        header = await here.run("order", {"x": 1})
    assert header["output"] == {"b": ["1.10", ["new"], True]}
    assert Counter(log.types) == Counter(
        {
            "workflow:start": 1,
            "node:start": 2,
            "context:change": 2,
            "node:finish": 2,
            "edge:evaluate": 2,
            "node:skipped": 1,
            "job:processed": 1,
            "workflow:finish": 1,
        }
    )
    nodes = {span.name: span for span in spans.get_finished_spans()}
    assert set(nodes) == {"run", "node price", "node b"}
    assert len({span.context.trace_id for span in nodes.values()}) == 1
    runtime = FlowRuntime(registry=app.registry, blueprints=app.blueprints.values())
    again = runtime.replay("order", await store.retrieve(header["runId"]))
    assert (again.status, again.output, again.context) == (
        "completed",
        header["output"],
        {"by price": True, "by b": True},
    )
    await store.close()
    tracers.shutdown()


class Words:
    """A language of the app's own: ``whenever KEY is VALUE``, and ``the KEY`` of a node's output."""

    def reads(self, _expression: str) -> frozenset[tuple[str, ...]]:
        return frozenset()

    def condition(self, expression: str, scope: Mapping[str, Any]) -> bool:
        _, key, _, value = expression.split()
        return str(scope["result"]["output"][key]) == value

    def transform(self, expression: str, scope: Mapping[str, Any]) -> Any:
        return scope["input"][expression.removeprefix("the ")]


class Lines:
    """A logger of the app's own."""

    def __init__(self, lines: list[tuple[str, Mapping[str, Any]]], facts: Mapping[str, Any]) -> None:
        self.lines = lines
        self.facts = facts

    def bind(self, **facts: Any) -> Lines:
        return Lines(self.lines, {**self.facts, **facts})

    def info(self, text: str, **facts: Any) -> None:
        self.lines.append((text, {**self.facts, **facts}))

    warning = error = exception = debug = info


async def test_an_app_brings_its_evaluator_and_its_logger(backend: AzureBackend) -> None:
    lines: list[tuple[str, Mapping[str, Any]]] = []
    app = App("words", extensions=Extensions(evaluator=Words(), logger=Lines(lines, {"app": "mine"})))

    @app.node("weigh")
    async def weigh(ctx: NodeContext) -> dict[str, Any]:
        ctx.logger.info("weighed", got=ctx.input)
        return {"kg": 7}

    flow = (
        app.flow("parcel", version="1").node("weigh").node("heavy", uses="weigh").node("light", uses="weigh")
    )
    flow.edge("weigh", "heavy", condition="whenever kg is 7", transform="the kg")
    flow.edge("weigh", "light", condition="whenever kg is 1")
    async with bench(app, 2, backend) as here:
        header = await here.run("parcel", {"order": "o-1"})
    assert header["output"] == {"heavy": {"kg": 7}}
    told = {"app": "mine", "run_id": header["runId"], "attempt": 1}
    assert [line for line in lines if line[0] == "weighed"] == [
        ("weighed", {**told, "node_key": "weigh", "got": {"order": "o-1"}}),
        ("weighed", {**told, "node_key": "heavy", "got": 7}),
    ]

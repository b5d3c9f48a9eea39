"""Spans and figures, as the SDK's exporters in memory see them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span

from flowcraft import App, FlowRuntime, NodeContext
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.testing import VirtualClock
from flowcraft_opentelemetry import instrument

Spans = dict[str, ReadableSpan]


class Exported:
    """Providers whose spans and figures stay in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def spans(self) -> Spans:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def figures(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """By name: the labels and the sum (of a histogram: the count) of each series."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: [
                (dict(point.attributes or {}), getattr(point, "value", getattr(point, "count", 0)))
                for point in metric.data.data_points
            ]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def exported() -> Iterator[Exported]:
    made = Exported()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


def line(exported: Exported) -> App:
    """``a`` -> ``b`` (in a thread) and ``c``; ``b`` and ``c`` -> ``d``."""
    app = App("traced")
    instrument(app.extensions, tracer_provider=exported.tracers, meter_provider=exported.meters)

    @app.node("works")
    async def works(_ctx: NodeContext) -> None:
        get_current_span().set_attribute("mine", True)

    @app.node("thread")
    def thread(_ctx: NodeContext) -> None:
        get_current_span().set_attribute("mine", True)

    flow = app.flow("line", version="1").node("a", uses="works").node("b", uses="thread")
    flow.node("c", uses="works").node("d", uses="works")
    flow.edge("a", "b").edge("a", "c").edge("b", "d").edge("c", "d")
    return app


async def ended(client: Client, run_id: str) -> str:
    while True:
        header = await client.header(run_id)
        if header["status"] in {"completed", "failed"}:
            return header["status"]
        await asyncio.sleep(0.002)


async def on_workers(app: App, blueprint_id: str, exported: Exported, caller: str = "") -> str:
    """Run with two workers; with a span of the caller around the start if it has a name."""
    clock = SystemClock()
    tracing = app.extensions.tracing
    async with open_embedded(":memory:", "q", clock) as backend:
        client = Client("q", backend.queue, backend.facts, backend.coordination, clock, tracing)
        ports = ("q", backend.queue, backend.facts, backend.coordination, clock)
        settings = WorkerSettings(concurrency=2, idle_min_s=0.002, idle_warm_s=0.01)
        workers = [
            Worker(
                Services(
                    *ports,
                    random.Random(number),  # noqa: S311  jitter
                    ExpressionEvaluator(),
                    app.options,
                    f"w{number}",
                    settings=settings,
                )
            )
            for number in range(2)
        ]
        for worker in workers:
            await worker.start()
        try:
            if caller:
                with exported.tracers.get_tracer("caller").start_as_current_span(caller):
                    run_id = await client.start_workflow(blueprint_id, {})
            else:
                run_id = await client.start_workflow(blueprint_id, {})
            return await ended(client, run_id)
        finally:
            for worker in workers:
                await worker.stop()


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def own(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def traces(spans: Spans) -> set[int]:
    return {context.trace_id for span in spans.values() if (context := span.get_span_context())}


async def test_each_node_on_workers_has_a_span_behind_that_of_its_predecessor(exported: Exported) -> None:
    assert await on_workers(line(exported), "line", exported, caller="my request") == "completed"
    spans = exported.spans()
    assert set(spans) == {"my request", "node a", "node b", "node c", "node d"}
    assert len(traces(spans)) == 1
    assert parent(spans["node a"]) == own(spans["my request"])
    assert parent(spans["node b"]) == parent(spans["node c"]) == own(spans["node a"])
    assert parent(spans["node d"]) in {own(spans["node b"]), own(spans["node c"])}
    for name in ("node a", "node b"):
        told = dict(spans[name].attributes or {})
        assert told["mine"] is True
        assert told["flowcraft.node_key"] == name[-1]
        assert told["flowcraft.attempt"] == 1
        assert told["flowcraft.run_id"]


async def test_a_run_started_without_a_trace_begins_one(exported: Exported) -> None:
    assert await on_workers(line(exported), "line", exported) == "completed"
    spans = exported.spans()
    assert len(traces(spans)) == 1
    assert parent(spans["run"]) is None
    assert parent(spans["node a"]) == own(spans["run"])


async def test_nodes_in_memory_are_inside_the_span_of_their_run(exported: Exported) -> None:
    app = line(exported)
    runtime = FlowRuntime(
        registry=app.registry, blueprints=app.blueprints.values(), extensions=app.extensions
    )
    with exported.tracers.get_tracer("caller").start_as_current_span("test"):
        result = await runtime.run("line")
    assert result.status == "completed"
    spans = exported.spans()
    assert parent(spans["run line"]) == own(spans["test"])
    assert {parent(spans[f"node {name}"]) for name in "abcd"} == {own(spans["run line"])}


async def test_failures_and_retries_are_in_the_spans(exported: Exported) -> None:
    app = App("fails")
    instrument(app.extensions, tracer_provider=exported.tracers, meter_provider=exported.meters)

    @app.node("fails")
    async def fails(_ctx: NodeContext) -> None:
        raise RuntimeError("broken")

    blueprint = {
        "id": "f",
        "nodes": [{"id": "x", "uses": "fails", "config": {"maxRetries": 2, "retryDelay": 60_000}}],
        "edges": [],
    }
    runtime = FlowRuntime(registry=app.registry, extensions=app.extensions)
    await runtime.run(blueprint, None, VirtualClock().options())
    first, second = (span for span in exported.exporter.get_finished_spans() if span.name == "node x")
    assert first.status.status_code is second.status.status_code is StatusCode.ERROR
    assert (first.attributes or {})["flowcraft.retry_in_s"] >= 30  # type: ignore[operator]
    assert second.status.description == "RuntimeError: broken"
    assert [event.name for event in second.events] == ["exception"]
    assert (second.attributes or {})["flowcraft.attempt"] == 2


async def test_figures_of_runs_nodes_and_the_queue(exported: Exported) -> None:
    await on_workers(line(exported), "line", exported)
    figures = exported.figures()
    assert figures["flowcraft.runs"] == [({"blueprint": "line", "status": "completed"}, 1)]
    nodes = {(labels["node"], labels["status"]): value for labels, value in figures["flowcraft.nodes"]}
    assert nodes == {(name, "completed"): 1 for name in "abcd"}
    assert sum(count for _, count in figures["flowcraft.node.duration"]) == 4
    assert figures["flowcraft.jobs"] == [({"queue": "q", "success": True}, 2)]
    assert figures["flowcraft.job.duration"] == figures["flowcraft.queue.age"] == [({"queue": "q"}, 2)]

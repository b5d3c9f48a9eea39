"""Loops on workers: random programs mean there what they mean in memory, and what their structure says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.unit.engine.loop_programs import Program, program
from tests.unit.memory.test_loops import accumulating, counting

from flowcraft import App, FlowRuntime, NodeContext, NodeResult
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeDefinition
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.memory.result import Decision
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument

ENDS = {"completed", "failed", "cancelled"}


class Played:
    """The code of a program's nodes: it does what the program says, and remembers what it was given."""

    def __init__(self, drawn: Program) -> None:
        self.drawn = drawn
        self.inputs: list[tuple[str, Any]] = []

    async def __call__(self, ctx: NodeContext) -> NodeResult:
        self.inputs.append((ctx.node_key, ctx.input))
        return NodeResult(ctx.node_key, self.drawn.action(ctx.node_key))


class Bench:
    """A client, and workers on one file in memory."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def run(
        self, blueprint: Blueprint, given: Any = None
    ) -> tuple[HeaderDocument, Mapping[str, NodeRecord]]:
        run_id = f"{random.getrandbits(64):x}"
        await self.client.start(RunRequest(run_id, blueprint.id, input=given or {}), blueprint)
        while True:
            header = await self.client.header(run_id)
            if header["status"] in ENDS:
                return header, await self.client.records(run_id)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def bench(app: App, workers: int) -> AsyncIterator[Bench]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_embedded(":memory:", "q", clock))
        ports = (backend.queue, backend.facts, backend.coordination, clock)
        for number in range(workers):
            services = Services(
                "q",
                *ports,
                random.Random(number),  # noqa: S311  jitter
                ExpressionEvaluator(),
                app.options,
                f"w{number}",
                settings=WorkerSettings(concurrency=4, idle_min_s=0.002, idle_warm_s=0.01),
            )
            await stack.enter_async_context(Worker(services))
        yield Bench(Client("q", *ports))


def seeds() -> list[int]:
    """Programs with loops that are over soon."""
    found: list[int] = []
    seed = 0
    while len(found) < 24:
        drawn = program(seed, depth=3, max_nodes=18)
        if drawn.plan.loops and len(drawn.meaning()) < 40:
            found.append(seed)
        seed += 1
    return found


@pytest.mark.parametrize("workers", [1, 3])
async def test_random_programs_with_loops_run_as_in_memory(workers: int) -> None:
    app, current = App("loops"), Played(program(0))

    @app.node("code")
    async def code(ctx: NodeContext) -> NodeResult:
        return await current(ctx)

    async with bench(app, workers) as embedded:
        for seed in seeds():
            drawn = program(seed, depth=3, max_nodes=18)
            blueprint = drawn.plan.blueprint
            current = played = Played(drawn)
            header, records = await asyncio.wait_for(embedded.run(blueprint), 10)
            current = remembered = Played(drawn)
            result = await FlowRuntime(registry={"code": code}).run(blueprint, {})
            assert (header["status"], result.status) == ("completed", "completed"), seed
            assert sorted(key for key, _ in played.inputs) == drawn.meaning(), seed
            assert sorted(played.inputs, key=str) == sorted(remembered.inputs, key=str), seed
            assert header["output"] == result.output, seed
            assert {key: record.status for key, record in records.items()} == {
                key: record.status for key, record in result.records.items()
            }, seed
            assert header["progress"] == {"done": len(records), "total": len(records)}, seed


def looping_app() -> App:
    app = App("loops")

    @app.node("first")
    async def first(_: NodeContext) -> int:
        return 0

    @app.node("count")
    async def count(ctx: NodeContext) -> NodeResult:
        await ctx.context.set("count", ctx.input + 1)
        return NodeResult(ctx.input + 1)

    @app.node("keep")
    async def keep(ctx: NodeContext) -> Any:
        return ctx.input

    @app.node("mark")
    async def mark(ctx: NodeContext) -> str:
        return ctx.node_key

    @app.node("seen")
    async def seen(ctx: NodeContext) -> Any:
        return {name: value if isinstance(value, str) else "…" for name, value in ctx.input.items() if value}

    @app.node("twice")
    async def twice(ctx: NodeContext) -> NodeResult:
        return NodeResult(ctx.node_key, "out" if ctx.node_key.endswith("2") else "again")

    return app


@pytest.mark.parametrize("workers", [1, 2])
async def test_upstreams_loop_and_what_names_mean(workers: int) -> None:
    app = looping_app()
    async with bench(app, workers) as embedded:
        header, _ = await asyncio.wait_for(embedded.run(Blueprint.from_dict(counting("count < 3"))), 10)
        assert (header["status"], header["output"]) == ("completed", {"done": 3})
        header, records = await asyncio.wait_for(embedded.run(Blueprint.from_dict(accumulating())), 10)
        assert header["status"] == "completed"
        assert header["output"] == {"end": {"after": "…", "late": "late#2.2", "inner": "inner#2.2"}}
        outputs = await embedded.client.outputs(header["runId"], ["sum#1.2", "sum#2.1", "after#2"])
        assert outputs["sum#1.2"] == {"own": "…", "late": "late#1.1", "outer": "outer#1"}
        assert outputs["sum#2.1"] == {"own": "…", "late": "late#1.2", "outer": "outer#2"}
        assert outputs["after#2"] == {"late": "late#2.2", "sum": "…", "out": "out#1"}
        assert "sum#2.2" in records


async def test_a_loop_that_goes_on_for_ever_fails_its_run() -> None:
    async with bench(looping_app(), 1) as embedded:
        blueprint = Blueprint.from_dict(counting("count > 0", maxIterations=20))
        header, _ = await asyncio.wait_for(embedded.run(blueprint), 10)
        assert (header["status"], header["errors"][0]["nodeKey"]) == ("failed", "turn#20")
        assert header["errors"][0]["type"] == "LoopWithoutEnd"
        assert header["progress"] == {"done": 41, "total": 42}


def batch_in_a_loop() -> Blueprint:
    """Each round scatters the last round's list and one item more; a child names a node of its own round."""
    nodes: list[dict[str, Any]] = [
        {"id": "first", "uses": "first"},
        {"id": "items", "uses": "items"},
        {
            "id": "scatter",
            "uses": "batch-scatter",
            "params": {"workerUsesKey": "double", "gatherNodeId": "all"},
        },
        {"id": "all", "uses": "batch-gather", "params": {"outputKey": "found"}},
        {"id": "more", "uses": "more"},
        {"id": "turn", "uses": "loop-controller", "params": {"condition": "size(_outputs.all) < 4"}},
        {"id": "done", "uses": "keep", "inputs": {"all": "all", "more": "more"}},
    ]
    edges: list[dict[str, Any]] = [
        {"source": "first", "target": "items"},
        {"source": "items", "target": "scatter"},
        {"source": "scatter", "target": "all"},
        {"source": "all", "target": "more"},
        {"source": "more", "target": "turn", "transform": "_outputs.all"},
        {"source": "turn", "target": "items", "action": "continue"},
        {"source": "turn", "target": "done", "action": "break"},
    ]
    return Blueprint.from_dict({"id": "batches", "nodes": nodes, "edges": edges})


async def test_batches_and_dynamic_nodes_in_a_loop() -> None:
    app = looping_app()

    @app.node("items")
    async def items(ctx: NodeContext) -> list[int]:
        before = ctx.input if isinstance(ctx.input, list) else [1]
        return [*before, len(before)]

    @app.node("double")
    async def double(ctx: NodeContext) -> int:
        return 2 * int(ctx.input)

    @app.node("more")
    async def more(ctx: NodeContext) -> NodeResult:
        child = NodeDefinition("child", "keep", inputs={"items": "items", "last": "more"})
        return NodeResult(ctx.node_key, dynamic_nodes=(child,))

    result = await FlowRuntime(registry=app.options.registry).run(batch_in_a_loop(), {})
    expected = {"done": {"all": [8, 8, 8, 6], "more": "more#3"}}
    assert (result.status, result.output) == ("completed", expected)
    async with bench(app, 2) as embedded:
        header, records = await asyncio.wait_for(embedded.run(batch_in_a_loop()), 10)
        assert (header["status"], header["output"]) == ("completed", expected)
        assert {key: record.status for key, record in records.items()} == {
            key: record.status for key, record in result.records.items()
        }
        assert "scatter#3[3]" in records
        children = [f"more#{number}[child]" for number in (1, 2, 3)]
        outputs = await embedded.client.outputs(header["runId"], children)
        assert outputs == {key: result.records[key].output for key in children}
        assert outputs["more#1[child]"] == {"items": [1, 1], "last": None}
        assert outputs["more#3[child]"] == {"items": [4, 4, 4, 3], "last": "more#2"}


def asking() -> Blueprint:
    """A loop that asks in each round, and beside it in each round a note that somebody has to sign."""
    nodes = [
        NodeDefinition("first", "first"),
        NodeDefinition("ask", "wait"),
        NodeDefinition("nap", "sleep", {"duration": "1ms"}),
        NodeDefinition("sign", "wait"),
        NodeDefinition("done", "seen", inputs={"ask": "ask"}),
    ]
    edges = [
        EdgeDefinition("first", "ask"),
        EdgeDefinition("ask", "sign", "again"),
        EdgeDefinition("ask", "nap", "again"),
        EdgeDefinition("nap", "ask"),
        EdgeDefinition("ask", "done", "enough"),
    ]
    return Blueprint("asking", tuple(nodes), tuple(edges))


async def test_people_answer_in_each_round() -> None:
    app = looping_app()
    runtime = FlowRuntime(registry=app.options.registry)
    result = await runtime.run(asking(), {})
    answers = {"ask#1": "again", "ask#2": "again", "ask#3": "enough", "sign#1": None, "sign#2": None}
    asked: list[str] = []
    while result.status == "awaiting":
        asked += result.awaiting
        decisions = {key: Decision(answers[key], key) for key in result.awaiting}
        result = await runtime.resume(result, decisions)
    assert sorted(asked) == sorted(answers)
    expected = {"done": {"ask": "ask#3"}, "sign": "sign#2"}
    assert (result.status, result.output) == ("completed", expected)
    async with bench(app, 2) as embedded:
        client = embedded.client
        await client.start(RunRequest("asked", "asking", input={}), asking())
        async with asyncio.timeout(10):
            for key, action in answers.items():
                await decided(client, "asked", key, action)
            while (await client.header("asked"))["status"] not in ENDS:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.001)
        header = await client.header("asked")
        assert (header["status"], header["output"]) == ("completed", expected)


async def decided(client: Client, run_id: str, key: str, action: str | None) -> None:
    """Answer a waiting node as soon as it waits."""
    while True:
        try:
            await client.decide(run_id, key, action=action, output=key)
        except RefusedError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(0.002)
        else:
            return

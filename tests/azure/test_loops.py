"""Loops on the services of Azure: rounds, exits that need a join, and what outside readers see."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.unit.distributed.test_loops import batch_in_a_loop, looping_app
from tests.unit.engine.loop_programs import Program, program
from tests.unit.memory.test_loops import accumulating, counting

from flowcraft import App, NodeContext, NodeResult
from flowcraft.blueprint import Blueprint
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft_api.wire import HeaderDocument
from flowcraft_azure import AzureBackend

pytestmark = pytest.mark.emulators


async def carried_out(backend: AzureBackend, app: App, *runs: tuple[str, Blueprint]) -> list[HeaderDocument]:
    """The headers of runs that one worker carried out side by side."""
    services = Services(
        queue_name=backend.queue_name,
        queue=backend.queue,
        facts=backend.facts,
        coordination=backend.coordination,
        clock=backend.clock,
        random=random.Random(7),  # noqa: S311
        evaluator=ExpressionEvaluator(),
        catalog=app.options,
        worker_id="worker",
        settings=WorkerSettings(idle_max_s=0.2),
    )
    client = Client(backend.queue_name, backend.queue, backend.facts, backend.coordination, backend.clock)
    async with Worker(services), asyncio.timeout(30):
        for run_id, blueprint in runs:
            await client.start(RunRequest(run_id, blueprint.id, input={}), blueprint)
        headers = [await client.header(run_id) for run_id, _ in runs]
        while any(header["status"] == "running" for header in headers):
            await asyncio.sleep(0.05)
            headers = [await client.header(run_id) for run_id, _ in runs]
    return headers


async def test_upstreams_loop_nested_loops_and_a_batch_in_a_loop(backend: AzureBackend, run_id: str) -> None:
    app = looping_app()

    @app.node("items")
    async def items(ctx: NodeContext) -> list[int]:
        before = ctx.input if isinstance(ctx.input, list) else [1]
        return [*before, len(before)]

    @app.node("double")
    async def double(ctx: NodeContext) -> int:
        return 2 * int(ctx.input)

    @app.node("more")
    async def more(ctx: NodeContext) -> str:
        return ctx.node_key

    documents: list[dict[str, Any]] = [counting("count < 3"), accumulating()]
    blueprints = [*map(Blueprint.from_dict, documents), batch_in_a_loop()]
    runs = [(f"{run_id}-{number}", blueprint) for number, blueprint in enumerate(blueprints)]
    headers = await carried_out(backend, app, *runs)
    assert [header["status"] for header in headers] == ["completed"] * 3
    assert [header["output"] for header in headers] == [
        {"done": 3},
        {"end": {"after": "…", "late": "late#2.2", "inner": "inner#2.2"}},
        {"done": {"all": [8, 8, 8, 6], "more": "more#3"}},
    ]


def drawn_with_open_exits() -> list[Program]:
    """Programs with loops that may be left while they go on, or have something to wait for."""
    found = [program(seed, depth=3, max_nodes=14) for seed in range(200)]
    waiting = [one for one in found if any(not loop.tight for loop in one.plan.loops.values())]
    return [one for one in waiting if len(one.meaning()) < 25][:5]


async def test_random_programs_with_loops(backend: AzureBackend, run_id: str) -> None:
    drawn = drawn_with_open_exits()
    app, executed = App("loops"), {f"{run_id}-{one.seed}": [""] for one in drawn}
    programs = {f"{run_id}-{one.seed}": one for one in drawn}

    @app.node("code")
    async def code(ctx: NodeContext) -> NodeResult:
        executed[ctx.run_id].append(ctx.node_key)
        return NodeResult(ctx.node_key, programs[ctx.run_id].action(ctx.node_key))

    runs = [(name, one.plan.blueprint) for name, one in programs.items()]
    headers = await carried_out(backend, app, *runs)
    assert [header["status"] for header in headers] == ["completed"] * len(runs)
    assert {name: sorted(keys)[1:] for name, keys in executed.items()} == {
        name: one.meaning() for name, one in programs.items()
    }

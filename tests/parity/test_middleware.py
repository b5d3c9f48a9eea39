"""What middleware is wrapped around: there every node, here every node that has code."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from tests.parity.upstream import HERE, INSTALLED
from tests.unit.distributed.bench import ENDS, bench

from flowcraft import App, Decision, FlowRuntime, Middleware, NodeContext
from flowcraft_api.wire import HeaderDocument

CHILD = {"id": "child", "nodes": [{"id": "inner", "uses": "work"}], "edges": []}
BATCH = {"workerUsesKey": "work", "gatherNodeId": "gather", "outputKey": "all"}
BLUEPRINT: dict[str, Any] = {
    "id": "all",
    "nodes": [
        {"id": "start", "uses": "work"},
        {"id": "first", "uses": "work", "config": {"joinStrategy": "any"}},
        {"id": "scatter", "uses": "batch-scatter", "params": BATCH},
        {"id": "gather", "uses": "batch-gather", "params": BATCH},
        {"id": "sub", "uses": "subflow", "params": {"blueprintId": "child"}},
        {
            "id": "again",
            "uses": "loop-controller",
            "params": {"condition": "never"},
            "config": {"joinStrategy": "any"},
        },
        {"id": "ask", "uses": "wait"},
        {"id": "last", "uses": "work"},
    ],
    "edges": [
        {"source": "start", "target": "first"},
        {"source": "first", "target": "scatter"},
        {"source": "scatter", "target": "gather"},
        {"source": "gather", "target": "sub"},
        {"source": "sub", "target": "again"},
        {"source": "again", "target": "first", "action": "continue"},
        {"source": "again", "target": "ask", "action": "break"},
        {"source": "ask", "target": "last"},
    ],
}
WITH_CODE = ["start", "first", "scatter[0]", "inner", "last"]


class Notes(Middleware):
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def before_node(self, ctx: NodeContext) -> None:
        self.heard.append(ctx.node_key.replace("#1", ""))


def noting() -> tuple[App, Notes]:
    app, notes = App("noting"), Notes()
    app.use(notes)

    @app.node("work")
    async def work(ctx: NodeContext) -> Any:
        return ctx.input or [1]

    app.add_blueprint(BLUEPRINT)
    app.add_blueprint(CHILD)
    return app, notes


def test_middleware_wraps_code_and_there_what_the_engine_does_too() -> None:
    node = shutil.which("node")
    assert node is not None and INSTALLED.is_dir(), "npm ci --prefix tests/parity"  # noqa: PT018
    case = json.dumps({"blueprint": BLUEPRINT, "child": CHILD})
    told = subprocess.run(
        [node, "middleware.mjs", case], cwd=HERE, capture_output=True, text=True, check=True, timeout=30
    )
    heard = json.loads(told.stdout)
    before = [each.removeprefix("before ") for each in heard if each.startswith("before ")]
    assert [each for each in before if not each.startswith("work_")] == [
        *("start", "first", "scatter", "gather", "sub", "inner", "again", "ask", "last"),
    ]
    assert sum(each.startswith("work_") for each in before) == 1
    assert heard[heard.index("after ask") + 1] == "awaiting", "wrapped when it begins to wait, and then never"
    assert heard[-1] == "completed"


async def test_middleware_wraps_code_in_memory() -> None:
    app, notes = noting()
    runtime = FlowRuntime(
        registry=app.registry, blueprints=app.blueprints.values(), extensions=app.extensions
    )
    waiting = await runtime.run("all", {})
    assert waiting.awaiting == ("ask",)
    ended = await runtime.resume(waiting, {"ask": Decision(output="yes")})
    assert (ended.status, notes.heard) == ("completed", WITH_CODE)


def asked_or_over(header: HeaderDocument) -> bool:
    waits = {entry["nodeKey"] for entry in header.get("awaiting", [])}
    return header["status"] in ENDS or "ask" in waits


@pytest.mark.parametrize("workers", [1, 3])
async def test_middleware_wraps_code_on_workers(workers: int) -> None:
    app, notes = noting()
    async with bench(app, workers) as place:
        run_id = await place.client.start_workflow("all", {})
        await place.until(run_id, asked_or_over)
        await place.client.decide(run_id, "ask", output="yes")
        await place.until(run_id, lambda header: header["status"] in ENDS)
    assert notes.heard == WITH_CODE

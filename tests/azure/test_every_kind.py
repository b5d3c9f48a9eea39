"""The example with every kind of node in it, on three workers of the Azure backend, watched live."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.cli.command import CLONE

from flowcraft import NodeContext, load_app
from flowcraft.app import App
from flowcraft.clock import SystemClock
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.implementation import Registry
from flowcraft.runtime import RuntimeOptions
from flowcraft_azure import AzureSettings, open_azure
from flowcraft_cli.backend import Backend
from flowcraft_cli.live import LiveNodes

pytestmark = pytest.mark.emulators
RANDOM = random.Random(7)  # noqa: S311  jitter
READERS = [f"reader-{number}@example.org" for number in range(30)]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "flows", raising=False)
    loaded = load_app("flows:app", search_path=CLONE / "examples" / "newsletter")
    monkeypatch.delitem(sys.modules, "flows")
    return loaded


def meeting(app: App, size: int, seen: asyncio.Event) -> RuntimeOptions:
    """What the app knows; addresses are checked once so many are at a time, and somebody has seen it."""
    inside: set[str] = set()
    all_here = asyncio.Event()
    check: Any = app.registry["check-address"].code

    async def gated(ctx: NodeContext) -> Any:
        inside.add(ctx.node_key)
        if len(inside) >= size:
            all_here.set()
        await all_here.wait()
        await seen.wait()
        return await check(ctx)

    registry = Registry({**dict(app.registry), "check-address": gated})
    return RuntimeOptions(app.blueprints, registry, name="newsletter")


class Told:
    """What the watch has printed so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.lines: list[str] = []

    async def until(self, text: str) -> None:
        """Wait for a line with this text."""
        while not any(text in line for line in self.lines):
            await asyncio.sleep(0.05)
            self.lines += self._capsys.readouterr().out.splitlines()


async def test_every_kind_of_node_runs_on_three_workers_and_is_watched(
    app: App, settings: AzureSettings, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told, all_seen = Told(capsys), asyncio.Event()
    options = meeting(app, 3, all_seen)
    async with AsyncExitStack() as stack:
        for name in ("one", "two", "three"):
            ports = await stack.enter_async_context(open_azure(settings))
            services = Services(
                ports.queue_name,
                ports.queue,
                ports.facts,
                ports.coordination,
                SystemClock(),
                RANDOM,
                ExpressionEvaluator(),
                options,
                name,
                settings=WorkerSettings(concurrency=1, idle_max_s=0.2),
            )
            await stack.enter_async_context(Worker(services))
        seen = await stack.enter_async_context(open_azure(settings))
        backend = Backend(
            seen.queue_name,
            seen.queue,
            seen.facts,
            seen.coordination,
            SystemClock(),
            RANDOM,
            lambda: seen.queue,
        )
        await backend.client.start_workflow(
            "newsletter", {"readers": [*READERS, "nobody"]}, run_id=run_id, version="1"
        )
        async with asyncio.timeout(50):
            watching = asyncio.create_task(LiveNodes(backend, wide=False).follow(run_id))
            for begun in ("addresses_scatter: awaiting", "addresses_scatter[0]: running"):
                await told.until(begun)
            all_seen.set()
            await told.until("approve: awaiting")
            await backend.client.decide(run_id, "approve", action="approved", output={"by": "ada"})
            await told.until("receipt: awaiting")
            await backend.client.decide(run_id, "receipt", output={"opened": 12})
            view = await watching
            await told.until(f"{run_id}: Succeeded ")
        records = await backend.client.records(run_id)
    assert view.document()["status"]["output"] == {
        "report": {"sent": {"to": 30, "text": "News. News. News."}, "opened": 12}
    }
    assert {record.worker for record in records.values() if record.worker} == {"one", "two", "three"}
    for done in ("addresses_scatter[7]", "improve#3", "cool-off", "approve", "deliver", "receipt", "report"):
        await told.until(f"{run_id}/{done}: completed")

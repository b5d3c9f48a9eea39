"""Progress that nodes report: seldom written, seen while the node runs, gone when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.manual_clock import ManualClock

from flowcraft import App, NodeContext
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.reports import REPORT_EVERY_S, NodeReports, packed, reported, unpacked
from flowcraft.distributed.services import Services
from flowcraft.embedded import open_embedded
from flowcraft.evaluator import ExpressionEvaluator

T = TypeVar("T")
RANDOM = Random(1)  # noqa: S311  jitter


@given(st.integers(0, 2**26 - 1), st.integers(1, 2**26 - 1))
def test_counts_are_kept_as_they_are(done: int, total: int) -> None:
    assert unpacked(packed(done, total)) == (min(done, total), total)
    assert packed(done, total) < 2**53


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ((0.25, 1.0), (250, 1000)),
        ((5, 10**12), (0, 1000)),
        ((7, 0), (0, 1)),
        ((float("nan"), 1), (0, 1)),
        ((1, float("inf")), (0, 1)),
        ((-3, 10), (0, 10)),
    ],
)
def test_other_numbers_are_scaled_or_refused(said: tuple[float, float], seen: tuple[float, float]) -> None:
    assert unpacked(packed(*said)) == seen


class Heard:
    """Coordination of which only the heartbeat is used; counts what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, bool]] = []

    async def heartbeat(self, _queue: str, key: str, number: int, ttl_s: float) -> None:
        self.told.append((key, number, ttl_s > 0))


async def test_the_newest_word_is_passed_on_every_few_seconds() -> None:
    clock, heard = ManualClock(), Heard()
    services: Any = type("Some", (), {"clock": clock, "coordination": heard})()
    reports = NodeReports(services, "r", "train")
    for step in range(1, 101):
        reports.note(step, 100)
    await settle()
    assert heard.told == [("train", packed(100, 100), True)]
    reports.note(1, 200)
    reports.note(2, 200)
    await settle()
    assert len(heard.told) == 1
    await clock.tick(REPORT_EVERY_S)
    await settle()
    assert heard.told[1:] == [("train", packed(2, 200), True)]
    await reports.end()
    assert heard.told[2:] == [("train", packed(2, 200), False)]


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """What is found, once something is."""
    found = await look()
    while not found:
        await asyncio.sleep(0.01)
        found = await look()
    return found


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_worker_shows_what_a_running_node_says(tmp_path: Path, blocking: bool) -> None:
    app = App("ml")
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    @app.node("train")
    async def train(ctx: NodeContext) -> str:
        ctx.progress(3, 10)
        await go_on.wait()
        return "trained"

    @app.node("train-blocking")
    def train_blocking(ctx: NodeContext) -> str:
        ctx.progress(3, 10)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return "trained"

    flow = app.flow("train", version="1")
    flow.node("train", uses="train-blocking" if blocking else "train")
    async with open_embedded(tmp_path / "runs.db", "q", SystemClock(), RANDOM) as ports:
        services = Services(
            "q",
            ports.queue,
            ports.facts,
            ports.coordination,
            SystemClock(),
            RANDOM,
            ExpressionEvaluator(),
            app.options,
            "w",
        )
        client = Client("q", ports.queue, ports.facts, ports.coordination, SystemClock())
        async with Worker(services):
            run_id = await client.start_workflow("train", {}, version="1")
            assert await until(lambda: reported(ports.coordination, run_id)) == {"train": (3, 10)}
            go_on.set()

            async def has_ended() -> bool:
                return (await client.header(run_id))["status"] == "completed"

            await until(has_ended)
            assert await reported(ports.coordination, run_id) == {}

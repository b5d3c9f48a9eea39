"""Batches of many items: a child costs the same among ten and among ten thousand, and memory stays small."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.children.runs import place
from tests.children.test_batch import app

from flowcraft import NodeContext
from flowcraft.embedded.facts import EmbeddedFacts

LIMIT_MB = 300
TEN_THOUSAND = """
import asyncio
from benchmarks.laps import peak_bytes
from tests.children.runs import in_memory
from tests.children.test_batch import app

async def work(ctx):
    return ctx.input["n"]

items = [{"n": place, "text": "some text of an item " * 10} for place in range(10_000)]
ended = asyncio.run(in_memory(app(work), "flow", {"items": items}))
assert ended.context["results"] == list(range(10_000)), ended.errors
print(peak_bytes() >> 20)
"""
"""Not ``ru_maxrss``: a child process inherits that of the process that started it."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_ten_thousand_children_stay_under_three_hundred_megabytes() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", TEN_THOUSAND], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < LIMIT_MB


async def test_a_child_among_many_costs_what_one_among_few_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner's record is read once a worker, and its own not at all: it commits, arrives, is done."""
    calls: Counter[str] = Counter()

    def counted(name: str) -> None:
        original = getattr(EmbeddedFacts, name)

        async def call(self: EmbeddedFacts, *args: Any, **named: Any) -> Any:
            calls[name] += 1
            return await original(self, *args, **named)

        monkeypatch.setattr(EmbeddedFacts, name, call)

    for name in ("load", "resolved", "commit"):
        counted(name)

    async def work(ctx: NodeContext) -> Any:
        return ctx.input

    async def cost(count: int) -> Counter[str]:
        async with place(app(work, concurrency=50)) as here:
            run_id = await here.start("flow", {"items": list(range(count))})
            await here.until(run_id, lambda header: header["status"] == "completed")
        found = Counter(calls)
        calls.clear()
        return found

    few, many = await cost(100), await cost(400)
    assert many["commit"] - few["commit"] == 300
    assert many["load"] <= few["load"] + 10
    assert many["resolved"] <= few["resolved"] + 10

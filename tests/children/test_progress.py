"""People see children in a run's progress, and are not told that a node waits because its children run."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.children.runs import place
from tests.children.test_batch import app

from flowcraft import NodeContext


async def test_progress_counts_children_while_they_run_and_at_the_end() -> None:
    gate = asyncio.Event()

    async def work(ctx: NodeContext) -> Any:
        await gate.wait()
        return ctx.input

    async with place(app(work)) as here:
        run_id = await here.start("flow", {"items": [1, 2, 3]})
        header = await here.until(run_id, lambda header: header.get("progress", {}).get("total") == 7)
        assert header["status"] == "running"
        assert not header.get("awaiting")
        gate.set()
        ended = await here.ended(run_id)
    assert ended.header is not None
    assert ended.header["progress"] == {"done": 7, "total": 7}


async def test_progress_of_a_failed_run_counts_what_is_known() -> None:
    async with place(app()) as here:
        ended = await here.run("flow", {"items": ["broken"]})
    assert ended.header is not None
    # The items' node and the child are resolved; scatter, gather and the last node are not.
    assert ended.header["progress"] == {"done": 2, "total": 5}

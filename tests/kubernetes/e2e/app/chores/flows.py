"""Slow work: time enough for a test to take something away in the middle of it."""

from __future__ import annotations

import asyncio
from typing import Any

from flowcraft import App, NodeContext

app = App("chores")


@app.node("chore", retries=3, retry_delay_s=1)
async def chore(ctx: NodeContext) -> dict[str, Any]:
    given = ctx.input
    if "seconds" not in given:  # behind the two sides: an object by source node
        given = given["left"]
    await asyncio.sleep(given["seconds"])
    return {"seconds": given["seconds"], "done": [*given.get("done", ()), ctx.node_id]}


flow = app.flow("house", version="1")
for place in ("first", "left", "right", "last"):
    flow.node(place, uses="chore")
flow.edge("first", "left").edge("first", "right").edge("left", "last").edge("right", "last")

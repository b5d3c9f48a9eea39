"""An application for the tests: its nodes say in files what they do, and wait for files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from flowcraft import App, NodeContext

app = App("slow")


def say(text: str) -> None:
    with Path("said").open("a") as file:
        file.write(f"{text}\n")


@app.node("first")
async def first(ctx: NodeContext) -> dict[str, Any]:
    say("first")
    return {"first": True}


@app.node("held")
async def held(ctx: NodeContext) -> dict[str, Any]:
    """Goes on when somebody makes the file `go`."""
    say("held begins")
    ctx.progress(1, 4)
    while not Path("go").exists():  # noqa: ASYNC110, ASYNC240  told by another process
        await asyncio.sleep(0.02)
    say("held ends")
    return {"held": True}


@app.node("last")
async def last(ctx: NodeContext) -> dict[str, Any]:
    say("last")
    return {"last": True}


flow = app.flow("slow", version="1")
flow.node("first").node("held").node("last")
flow.edge("first", "held").edge("held", "last")

nap = app.flow("nap", version="1")
nap.node("first").sleep("nap", "1s").node("last")
nap.edge("first", "nap").edge("nap", "last")

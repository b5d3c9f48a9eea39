"""An application for the tests: flows that run another one, in which somebody is waited for."""

from __future__ import annotations

from typing import Any

from flowcraft import App, NodeContext

app = App("nested")


@app.node("note")
async def note(ctx: NodeContext) -> Any:
    return {"noted": ctx.input}


asking = app.flow("asking", version="1")
asking.node("before", uses="note").wait("approve").edge("before", "approve")

calling = app.flow("calling", version="1").webhook("answer")

flow = app.flow("order", version="1")
flow.subflow("check", "asking").node("ship", uses="note").edge("check", "ship")

called = app.flow("called", version="1").subflow("call", "calling")

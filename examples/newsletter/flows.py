"""A newsletter, with every kind of node there is: batch, loop, sleep, wait, subflow and webhook."""

from __future__ import annotations

from typing import Any

from flowcraft import App, NodeContext, NonRetryableError

app = App("newsletter")


@app.node("readers")
async def readers(ctx: NodeContext) -> list[str]:
    return list(ctx.input["readers"])


@app.node("check-address", retries=1, retry_delay_s=0.1)
async def check_address(ctx: NodeContext) -> str:
    name, at, domain = str(ctx.input).strip().lower().partition("@")
    if not (name and at and "." in domain):
        raise NonRetryableError(f"{ctx.input!r} is no address")
    return f"{name}@{domain}"


@app.node("draft")
async def draft(ctx: NodeContext) -> dict[str, Any]:
    """The first draft, and in later rounds a longer one; `version` goes around the loop."""
    version = ctx.input["version"] + 1 if isinstance(ctx.input, dict) else 1
    return {"version": version, "text": "News. " * version}


@app.node("review")
async def review(ctx: NodeContext) -> dict[str, Any]:
    return {**ctx.input, "good": len(ctx.input["text"]) > 12}


@app.node("send")
async def send(ctx: NodeContext) -> dict[str, Any]:
    """The node of the subflow: hands everything to a mail service, which calls back when it is done."""
    return {"to": len(ctx.input["readers"]), "text": ctx.input["letter"]["text"].strip()}


@app.node("report")
async def report(ctx: NodeContext) -> dict[str, Any]:
    return {"sent": ctx.input["sent"], "opened": ctx.input["receipt"]["opened"]}


delivery = app.flow("delivery", version="1")
delivery.node("send")

flow = app.flow("newsletter", version="1")
flow.node("readers").batch("addresses", "check-address", concurrency=8, on_error="skip")
flow.node("draft").node("review")
flow.loop("improve", start="draft", end="review", condition="!review.good", max_iterations=9)
flow.sleep("cool-off", "1s").wait("approve")
flow.subflow("deliver", "delivery", version="1", inputs={"readers": "addresses", "letter": "review"})
flow.webhook("receipt").node("report", inputs={"sent": "deliver", "receipt": "receipt"})

flow.edge("readers", "addresses").edge("addresses", "draft").edge("draft", "review")
flow.edge("improve", "cool-off").edge("cool-off", "approve")
flow.edge("approve", "deliver", action="approved").edge("deliver", "receipt").edge("receipt", "report")

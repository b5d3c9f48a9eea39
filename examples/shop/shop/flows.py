"""An order: charge it, ask a person above 1000, ship it; an order of nothing is refunded."""

from __future__ import annotations

from typing import Any

from flowcraft import App, NodeContext, NodeResult, NonRetryableError

app = App("shop")

APPROVAL_ABOVE = 1000


@app.node("charge", retries=3, retry_delay_s=1, timeout_s=30)
async def charge(ctx: NodeContext) -> NodeResult:
    amount = ctx.input.get("amount")
    # Trying again cannot help with a wrong input, so no retry is wasted on it.
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise NonRetryableError(f"the amount must be a number, not {amount!r}")
    if amount < 0:
        raise NonRetryableError(f"the amount must not be negative, but it is {amount}")
    # A payment service would get ctx.idempotency_key: run twice after a crash, it charges once.
    return NodeResult(output={"paid": amount}, action="approved" if amount else None)


@app.node("ship", retries=3, retry_delay_s=1)
async def ship(ctx: NodeContext) -> dict[str, Any]:
    # Comes from charge ({"paid": …}), or from the decision on approve ({"by": …}).
    return {"shipped": True, "order": ctx.run_id, "after": ctx.input}


@app.node("refund", retries=3, retry_delay_s=1)
def refund(ctx: NodeContext) -> dict[str, Any]:  # not async: runs in a thread
    return {"refunded": ctx.input["paid"]}


flow = app.flow("order", version="1")
flow.node("charge").wait("approve").node("ship").node("refund")
flow.edge("charge", "ship", action="approved", condition=f"result.output.paid <= {APPROVAL_ABOVE}")
flow.edge("charge", "approve", action="approved", condition=f"result.output.paid > {APPROVAL_ABOVE}")
flow.edge("approve", "ship", action="approved")
flow.edge("charge", "refund", condition="result.output.paid == 0")

"""A payment by a provider that calls back: the run waits at a webhook until it does."""

from __future__ import annotations

from typing import Any

from flowcraft import App, NodeContext

app = App("payments")


@app.node("order-payment", retries=3, retry_delay_s=1)
async def order_payment(ctx: NodeContext) -> dict[str, Any]:
    """Tells the provider what to charge; where it calls back, `flowcraft describe` shows at `paid`."""
    return {"payment": ctx.idempotency_key, "amount": ctx.input["amount"]}


@app.node("ship")
async def ship(ctx: NodeContext) -> dict[str, Any]:
    return {"shipped": ctx.input}


@app.node("remind")
async def remind(ctx: NodeContext) -> dict[str, Any]:
    return {"reminded": True, "said": ctx.input}


flow = app.flow("payment", version="1")
flow.node("order-payment").webhook("paid").node("ship").node("remind")
flow.edge("order-payment", "paid")
flow.edge("paid", "ship", condition='result.output.status == "settled"')
flow.edge("paid", "remind", condition='result.output.status != "settled"')

"""Every night: two sources are read, joined, loaded; started by a CronJob, once a night whatever happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flowcraft import App, NodeContext

app = App("etl")

# Stand-ins for a shop's database and a bank's export.
ORDERS = [{"order": number, "customer": f"c{number % 7}", "amount": number * 3} for number in range(1, 201)]
PAID = {number for number in range(1, 201) if number % 5}


@app.node("extract-orders", retries=3, retry_delay_s=5, timeout_s=600)
async def extract_orders(ctx: NodeContext) -> list[dict[str, Any]]:
    return [{**order, "day": ctx.input["day"]} for order in ORDERS]


@app.node("extract-payments", retries=3, retry_delay_s=5, timeout_s=600)
async def extract_payments(ctx: NodeContext) -> list[int]:
    return sorted(PAID)


@app.node("join")
def join(ctx: NodeContext) -> dict[str, Any]:
    orders, paid = ctx.input["orders"], set(ctx.input["payments"])
    totals: Counter[str] = Counter()
    for done, order in enumerate(orders, start=1):
        ctx.progress(done, len(orders))  # `flowcraft watch` shows it while it runs
        if order["order"] in paid:
            totals[order["customer"]] += order["amount"]
    return {"totals": dict(totals), "open": len(orders) - len(paid)}


@app.node("load", retries=5, retry_delay_s=5)
async def load(ctx: NodeContext) -> dict[str, Any]:
    """Writing under the day makes it right to write twice."""
    return {"rows": len(ctx.input["totals"]), "open": ctx.input["open"]}


flow = app.flow("nightly", version="1")
flow.node("orders", uses="extract-orders").node("payments", uses="extract-payments")
flow.node("join", inputs={"orders": "orders", "payments": "payments"}).node("load")
flow.edge("orders", "join").edge("payments", "join").edge("join", "load")

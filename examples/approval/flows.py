"""An expense: small ones are paid, larger ones wait for a person, whoever files nonsense is told at once."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from flowcraft import App, NodeContext, NodeResult

app = App("expenses")
PAID_WITHOUT_ASKING = 100


class Expense(BaseModel):
    """What somebody wants back; anything else fails the node `check` and names the field."""

    by: str
    amount: Decimal = Field(gt=0, decimal_places=2)
    category: Literal["travel", "food", "books"]


class Payment(BaseModel):
    """What is paid."""

    to: str
    amount: Decimal
    approved_by: str = "nobody"


class Ledger:
    """Stands for the bookkeeping system; nodes get it because they ask for a `Ledger`."""

    def enter(self, payment: Payment) -> str:
        """Book a payment; its line in the ledger."""
        return f"{payment.to}: {payment.amount}"


@app.dependency
def ledger() -> Ledger:
    return Ledger()


@app.node("check")
async def check(expense: Expense, ctx: NodeContext) -> NodeResult:
    # JSON has no decimals: the amount travels as text, and comes out of the next model as a Decimal again.
    large = expense.amount > PAID_WITHOUT_ASKING
    return NodeResult(output=expense.model_dump(mode="json"), action="large" if large else "small")


@app.node("pay", retries=3, retry_delay_s=1)
async def pay(ctx: NodeContext[Payment], ledger: Ledger) -> dict[str, str]:
    return {"entered": ledger.enter(ctx.input), "approved by": ctx.input.approved_by}


@app.node("refuse")
async def refuse(ctx: NodeContext) -> dict[str, object]:
    return {"refused": ctx.input}


flow = app.flow("expense", version="1")
flow.node("check").wait("approve").node("pay").node("refuse")
flow.edge("check", "pay", action="small", transform='{"to": input.by, "amount": input.amount}')
flow.edge("check", "approve", action="large")
flow.edge(
    "approve",
    "pay",
    action="approved",
    transform='{"to": _outputs.check.by, "amount": _outputs.check.amount, "approved_by": input.by}',
)
flow.edge("approve", "refuse", action="refused")

"""A trip: three bookings with other companies; when one fails, those before it are undone, last one first."""

from __future__ import annotations

from pydantic import BaseModel

from flowcraft import App, NodeContext, NodeResult

app = App("saga")


class Trip(BaseModel):
    """What is booked.

    Attributes:
        traveller: Who travels.
        nights: How many nights.
        sold_out: What this stand-in for the world has no more of: "flight", "hotel" or "car".
    """

    traveller: str
    nights: int = 1
    sold_out: str = ""


async def book(what: str, trip: Trip, ctx: NodeContext) -> NodeResult:
    """A booking service: idempotent, because a node may run again after a crash."""
    if trip.sold_out == what:
        return NodeResult(output={"reason": f"no {what} left"}, action="failed")
    return NodeResult(output={what: ctx.idempotency_key}, action="booked")


@app.node("book-flight", retries=2, retry_delay_s=0.1)
async def book_flight(trip: Trip, ctx: NodeContext) -> NodeResult:
    return await book("flight", trip, ctx)


@app.node("book-hotel", retries=2, retry_delay_s=0.1)
async def book_hotel(trip: Trip, ctx: NodeContext) -> NodeResult:
    return await book("hotel", trip, ctx)


@app.node("book-car", retries=2, retry_delay_s=0.1)
async def book_car(trip: Trip, ctx: NodeContext) -> NodeResult:
    return await book("car", trip, ctx)


@app.node("cancel", retries=5, retry_delay_s=0.1)
async def cancel(ctx: NodeContext) -> dict[str, object]:
    """Undo a booking, whichever it is; undoing has more retries than doing."""
    return {"cancelled": ctx.params["what"], "because": ctx.input}


@app.node("confirm")
async def confirm(ctx: NodeContext) -> dict[str, object]:
    return {"confirmed": ctx.input}


@app.node("apologise")
async def apologise(ctx: NodeContext) -> dict[str, object]:
    return {"apology": ctx.input}


TRIP = {"traveller": "traveller", "nights": "nights", "sold_out": "sold_out"}  # fields of the run's input

flow = app.flow("trip", version="1")
flow.node("flight", uses="book-flight")
flow.node("hotel", uses="book-hotel", inputs=TRIP)
flow.node("car", uses="book-car", inputs=TRIP)
flow.node("confirm", inputs={"flight": "flight.flight", "hotel": "hotel.hotel", "car": "car.car"})
flow.node("cancel-hotel", uses="cancel", params={"what": "hotel"})
flow.node("cancel-flight", uses="cancel", params={"what": "flight"}, join="any")
flow.node("apologise", join="any")

flow.edge("flight", "hotel", action="booked").edge("hotel", "car", action="booked")
flow.edge("car", "confirm", action="booked")
# The way back: what failed leads to undoing what was booked before it.
flow.edge("car", "cancel-hotel", action="failed").edge("hotel", "cancel-flight", action="failed")
flow.edge("flight", "apologise", action="failed")
flow.edge("cancel-hotel", "cancel-flight").edge("cancel-flight", "apologise")

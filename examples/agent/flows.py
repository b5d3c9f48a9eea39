"""An agent: a model says which tool to use, the tool is used, and so on until the model has an answer."""

from __future__ import annotations

import re
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from flowcraft import App, NodeContext, NodeResult, NonRetryableError

app = App("agent")


class Turn(BaseModel):
    """What a model says: a tool to use, or its answer."""

    say: Literal["tool", "answer"]
    tool: str = ""
    argument: str = ""
    text: str = ""


class Model(Protocol):
    """What this example asks of a language model; put the client of your provider behind it."""

    async def next_turn(self, messages: list[str]) -> Turn:
        """The next thing to do, given all that was said."""
        ...


class StandIn:
    """A model that needs no network: it looks prices up, adds them, and says the sum."""

    async def next_turn(self, messages: list[str]) -> Turn:
        """See ``Model``."""
        wanted = re.findall(r"[a-z]+(?=s? and|s?\?)", messages[0])
        known = [message.removeprefix("price: ") for message in messages if message.startswith("price: ")]
        if len(known) < len(wanted):
            return Turn(say="tool", tool="price", argument=wanted[len(known)])
        sums = [message.removeprefix("sum: ") for message in messages if message.startswith("sum: ")]
        if not sums:
            return Turn(say="tool", tool="sum", argument=" ".join(known))
        return Turn(say="answer", text=f"Together they cost {sums[0]}.")


@app.dependency
def model() -> Model:
    return StandIn()


PRICES = {"apple": 3, "pear": 4, "plum": 2}


@app.node("listen")
async def listen(ctx: NodeContext) -> list[str]:
    """What was said so far is the agent's memory; it goes around the loop."""
    return [ctx.input["question"]]


@app.node("think", retries=3, retry_delay_s=1, timeout_s=60)
async def think(messages: list[str], ctx: NodeContext, model: Model) -> NodeResult:
    turn = await model.next_turn(messages)
    return NodeResult(output={"messages": messages, "turn": turn.model_dump()}, action=turn.say)


@app.node("use-tool", retries=2, retry_delay_s=1, timeout_s=30)
async def use_tool(ctx: NodeContext) -> list[str]:
    turn = Turn(**ctx.input["turn"])
    if turn.tool == "price":
        found = PRICES.get(turn.argument.rstrip("s"))
        if found is None:
            raise NonRetryableError(f"nobody sells {turn.argument!r}")
        said = f"price: {found}"
    else:
        said = f"sum: {sum(map(int, turn.argument.split()))}"
    return [*ctx.input["messages"], said]


@app.node("answer")
async def answer(ctx: NodeContext) -> dict[str, Any]:
    return {"answer": ctx.input["turn"]["text"], "turns": len(ctx.input["messages"])}


flow = app.flow("agent", version="1")
flow.node("listen").node("think").node("use-tool", params={"maxIterations": 20}).node("answer")
flow.edge("listen", "think")
flow.edge("think", "use-tool", action="tool").edge("use-tool", "think")  # the loop
flow.edge("think", "answer", action="answer")

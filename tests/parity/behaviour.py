"""What nodes of the random programs do, told by their params; ``runner.mjs`` does the same in JavaScript.

``node`` names the node. It sets the context keys of ``early``, then fails as often as ``fails`` says, or for
good where ``fatal`` is true. Then it sets the keys of ``set`` and gives ``action`` and ``output``:
``"input"``, which is what it got, ``"nothing"``, which is no result at all, or ``{"value": …}``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from flowcraft import FatalError, NodeContext, NodeResult


@dataclass
class Trace:
    """What nodes were called with: node, node key it stood in for, input; in the order of the calls."""

    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


class Traces(defaultdict[str, Trace]):
    """Traces by run id; nodes find them in their dependencies."""

    def __init__(self) -> None:
        super().__init__(Trace)


async def act(ctx: NodeContext) -> NodeResult | None:
    params = ctx.params
    trace: Trace = ctx.dependencies["traces"][ctx.run_id]
    node = params["node"]
    trace.calls.append((node, ctx.node_key, ctx.input))
    trace.seen[node] += 1
    for key, value in params.get("early", {}).items():
        await ctx.context.set(key, value)
    if params.get("fatal"):
        raise FatalError(f"{node} gives up")
    if trace.seen[node] <= params.get("fails", 0):
        raise RuntimeError(f"{node} fails")
    for key, value in params.get("set", {}).items():
        await ctx.context.set(key, value)
    output = params["output"]
    if output == "nothing":
        return None
    return NodeResult(ctx.input if output == "input" else output["value"], params.get("action"))

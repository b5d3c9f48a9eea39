"""What nodes of the random programs do, told by their params; ``runner.mjs`` does the same in JavaScript.

``node`` names the node. It sets the context keys of ``early``, then fails as often as ``fails`` says, or for
good where ``fatal`` is true. Then it sets the keys of ``set``, deletes those of ``delete``, and gives
``action``, the nodes that it ``makes``, and ``output``: ``"input"``, which is what it got, ``"reads"``, which
is what the context has under the names of ``reads``, ``"nothing"``, which is no result at all, or
``{"value": …}``. ``takes`` are milliseconds before all that. ``turns`` names a context key that is true until
it was called so many ``times``, and again after that.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from flowcraft import BaseNode, FatalError, NodeContext, NodeResult


@dataclass
class Trace:
    """What nodes were called with: node, node key it stood in for, input; in the order of the calls."""

    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)


class Traces(defaultdict[str, Trace]):
    """Traces by run id; nodes find them in their dependencies."""

    def __init__(self) -> None:
        super().__init__(Trace)

    def of_family(self, run_id: str) -> Trace:
        """The calls of a run and of its child runs; these traces are given away."""
        family = [key for key in self if key == run_id or key.startswith(f"{run_id}.")]
        return Trace([call for key in sorted(family) for call in self.pop(key).calls])


async def act(ctx: NodeContext) -> NodeResult | None:
    params = ctx.params
    trace: Trace = ctx.dependencies["traces"][ctx.run_id]
    node = params["node"]
    if takes := params.get("takes"):
        await asyncio.sleep(takes / 1000)
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
    if turns := params.get("turns"):
        await ctx.context.set(turns["key"], trace.seen[node] % turns["times"] != 0)
    for key in params.get("delete", ()):
        await ctx.context.delete(key)
    output = params["output"]
    if output == "nothing":
        return None
    if output == "reads":
        gave: Any = {name: await ctx.context.get(name) for name in params["reads"]}
    else:
        gave = ctx.input if output == "input" else output["value"]
    return NodeResult(gave, params.get("action"), dynamic_nodes=params.get("makes", ()))


async def item(ctx: NodeContext) -> NodeResult:
    """What is run on each item of a batch: its input is the item, which says what to do.

    ``item`` names it; ``fails`` is whether it does; ``set`` are context keys; it ``gives`` its ``"input"``,
    its ``"value"``, or ``"nothing"``, which is no result at all.
    """
    said = ctx.input
    trace: Trace = ctx.dependencies["traces"][ctx.run_id]
    trace.calls.append((said["item"], ctx.node_key, said))
    if said.get("fails"):
        raise RuntimeError(f"{said['item']} fails")
    for key, value in said.get("set", {}).items():
        await ctx.context.set(key, value)
    return NodeResult(said if said["gives"] == "input" else said.get("value"))


class Phases(BaseNode):
    """A class node; each phase tells what it was called with under ``<node>.<phase>``.

    ``params`` has an object for each phase: ``fails`` is how often it does, ``fatal`` whether that ends all
    attempts, ``set`` are context keys, and what it ``gives`` is ``{"value": …}``, else what it got. Without
    one, ``fallback`` is the inherited one.
    """

    async def prep(self, ctx: NodeContext) -> Any:
        return await self._do("prep", ctx.input, ctx)

    async def exec(self, prepared: Any, ctx: NodeContext) -> NodeResult:
        output = await self._do("exec", prepared, ctx)
        return NodeResult(output, self.params.get("action"))

    async def post(self, result: NodeResult, ctx: NodeContext) -> NodeResult:
        return NodeResult(await self._do("post", result.output, ctx), result.action)

    async def fallback(self, error: BaseException, ctx: NodeContext) -> NodeResult:
        output = await self._do("fallback", None, ctx)
        if "fallback" not in self.params:
            raise error
        return NodeResult(output)

    async def recover(self, error: BaseException, ctx: NodeContext) -> None:
        await self._do("recover", None, ctx)

    async def _do(self, phase: str, value: Any, ctx: NodeContext) -> Any:
        said = self.params.get(phase, {})
        trace: Trace = ctx.dependencies["traces"][ctx.run_id]
        name = f"{self.params['node']}.{phase}"
        trace.calls.append((name, ctx.node_key, value))
        trace.seen[name] += 1
        if trace.seen[name] <= said.get("fails", 0):
            raise FatalError(f"{name} gives up") if said.get("fatal") else RuntimeError(f"{name} fails")
        for key, kept in said.get("set", {}).items():
            await ctx.context.set(key, kept)
        return said["gives"]["value"] if "gives" in said else value


IMPLEMENTATIONS = {"act": act, "item": item, "phases": Phases}

"""Going back in a run: the same run with some of its facts taken away or replaced, to be gone on with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.errors import AppError
from flowcraft.memory.result import RunResult
from flowcraft.node import MISSING

PATCH = ""
"""Stands among the node keys for whoever patched the context from outside."""


def before(result: RunResult, node: str) -> RunResult:
    """The run as it was before a node was acted on: what it and all behind it did is gone, writes included.

    Raises:
        AppError: there is no such node, or the run never came to it.
    """
    plan = Plan.of(result.blueprint)
    if node not in plan.nodes:
        raise AppError(f"blueprint {result.blueprint.id} has no node {node!r} that could be run again")
    reached = (_node(key) for key, record in result.records.items() if record.status != "skipped")
    if node not in reached:
        raise AppError(f"run {result.run_id} never came to node {node!r}; run an earlier one again")
    gone = _behind(plan, node)
    writes = {key: writes for key, writes in result.writes.items() if _node(key) not in gone}
    return replace(
        result,
        status="paused",
        output=None,
        errors=(),
        records={key: record for key, record in result.records.items() if _node(key) not in gone},
        writes=writes,
        subflows={key: child for key, child in result.subflows.items() if _node(key) not in gone},
        context=layered(writes.values()),
    )


def patched(result: RunResult, values: Mapping[str, Any], delete: Collection[str]) -> RunResult:
    """The run with these context keys written last."""
    patch = {**values, **dict.fromkeys(delete, MISSING)}
    earlier = dict(result.writes)
    writes = {**earlier, PATCH: {**earlier.pop(PATCH, {}), **patch}}
    return replace(result, writes=writes, context=layered((result.context, patch)))


def _node(key: str) -> str:
    """The node that a key belongs to; of a child, the node that it is a child of."""
    return NodeKey.parse(key).node


def _behind(plan: Plan, node: str) -> set[str]:
    """The node and all that can be reached from it, over back edges too."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [plan.edges[position].target for position in plan.nodes[name].outgoing]
    return found


def layered(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The context that layers of writes make, each over those before it."""
    context: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if value is MISSING:
                context.pop(name, None)
            else:
                context[name] = value
    return context

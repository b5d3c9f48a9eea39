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
    reached = any(record.node == node and record.status != "skipped" for record in result.records.values())
    if not reached:
        raise AppError(f"run {result.run_id} never came to node {node!r}; run an earlier one again")
    gone = _behind(plan, node)
    records = {key: record for key, record in result.records.items() if record.node not in gone}
    writes = {key: writes for key, writes in result.writes.items() if NodeKey.parse(key).node not in gone}
    return replace(
        result,
        status="paused",
        output=None,
        errors=(),
        records=records,
        writes=writes,
        context=_context(writes.values()),
    )


def patched(result: RunResult, values: Mapping[str, Any], delete: Collection[str]) -> RunResult:
    """The run with these context keys written last."""
    patch = {**values, **dict.fromkeys(delete, MISSING)}
    earlier = dict(result.writes)
    writes = {**earlier, PATCH: {**earlier.pop(PATCH, {}), **patch}}
    return replace(result, writes=writes, context=_context((result.context, patch)))


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


def _context(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if value is MISSING:
                context.pop(name, None)
            else:
                context[name] = value
    return context

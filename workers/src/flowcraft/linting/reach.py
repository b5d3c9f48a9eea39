"""Nodes that no run can reach: every way to them leads over an edge that can never be taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from flowcraft.analysis import edges_taken, kinds
from flowcraft.blueprint import Blueprint, EdgeDefinition
from flowcraft.linting.finding import Finding

ACTIONS: Final[Mapping[str, frozenset[str]]] = {
    "sleep": frozenset(),
    "subflow": frozenset(),
    "batch-scatter": frozenset(),
    "batch-gather": frozenset(),
    "loop-controller": frozenset({"continue", "break"}),
}
"""Actions that a node kind of the engine can give; one that is not here may give any."""
_NEVER: Final = frozenset({"false", "null"})


def dead_ends(blueprint: Blueprint, starts: Iterable[str]) -> Iterator[Finding]:
    """Edges that are never taken, and what can never run because of them."""
    if kinds(blueprint).isdisjoint(ACTIONS) and not any(
        edge.condition is not None and edge.condition.strip() in _NEVER for edge in blueprint.edges
    ):
        return
    uses = {node.id: node.uses for node in blueprint.nodes}
    ways: dict[str, list[str]] = {}
    dead = 0
    for place, edge in enumerate(edges_taken(blueprint)):
        reason = _never_taken(edge, uses) if edge.action or edge.condition else None
        if reason is None:
            ways.setdefault(edge.source, []).append(edge.target)
            continue
        dead += 1
        code, field, told = reason
        yield Finding(
            code,
            f"edge {edge.source} -> {edge.target} is never taken: {told}",
            edge=(edge.source, edge.target),
            severity="warning",
            path=("edges", place, field),
        )
    if dead:
        yield from _cut_off(blueprint, starts, ways)


def _cut_off(blueprint: Blueprint, starts: Iterable[str], ways: Mapping[str, list[str]]) -> Iterator[Finding]:
    begin = list(starts)
    entering = Counter([edge.target for edge in blueprint.edges])
    in_theory = _reached(begin, _all_ways(blueprint))
    in_fact = _reached(begin, ways)
    for place, node in enumerate(blueprint.nodes):
        if node.id in in_fact or node.id not in in_theory:
            continue
        if entering[node.id] > 1:
            code, what = "JOIN_NEVER_READY", "joins edges of which none can ever be taken"
        else:
            code, what = "UNREACHABLE_NODE", "stands behind an edge that is never taken"
        message = f"node {node.id} {what}, so every run skips it"
        yield Finding(code, message, node.id, severity="warning", path=("nodes", place))


def _never_taken(edge: EdgeDefinition, uses: Mapping[str, str]) -> tuple[str, str, str] | None:
    if edge.condition is not None and edge.condition.strip() in _NEVER:
        return "CONDITION_NEVER_HOLDS", "condition", f"its condition is {edge.condition.strip()}"
    given = ACTIONS.get(uses.get(edge.source, ""))
    if edge.action is None or given is None or edge.action in given:
        return None
    kind = uses[edge.source]
    what = f"gives {' or '.join(sorted(given))}" if given else "gives no action"
    return "IMPOSSIBLE_ACTION", "action", f"its action is {edge.action!r}, and a {kind} {what}"


def _all_ways(blueprint: Blueprint) -> dict[str, list[str]]:
    ways: dict[str, list[str]] = {}
    for edge in edges_taken(blueprint):
        ways.setdefault(edge.source, []).append(edge.target)
    return ways


def _reached(starts: Iterable[str], ways: Mapping[str, list[str]]) -> set[str]:
    reached = set(starts)
    stack = list(reached)
    while stack:
        for target in ways.get(stack.pop(), ()):
            if target not in reached:
                reached.add(target)
                stack.append(target)
    return reached

"""What a blueprint's graph is: cycles, where it starts, where it ends. Linear in nodes and edges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from flowcraft.blueprint import Blueprint, EdgeDefinition

MAX_CYCLES: Final = 100
"""Cycles told at most; a dense graph has more than anybody reads."""


@dataclass(frozen=True, slots=True)
class BlueprintAnalysis:
    """The shape of a blueprint's graph.

    Attributes:
        cycles: One cycle for each edge that goes back, as node ids, the first one repeated at the end; at
            most ``MAX_CYCLES``.
        start_node_ids: Nodes that no edge enters, in the order written; those that are only somebody's
            fallback neither start nor end anything.
        terminal_node_ids: Nodes that no edge leaves, in the order written.
        node_count: How many nodes.
        edge_count: How many edges.
        is_dag: No cycles.
    """

    cycles: tuple[tuple[str, ...], ...]
    start_node_ids: tuple[str, ...]
    terminal_node_ids: tuple[str, ...]
    node_count: int
    edge_count: int
    is_dag: bool


def analyze_blueprint(blueprint: Blueprint) -> BlueprintAnalysis:
    """Analyze a blueprint, once; edges with unknown ends count, but lead nowhere."""
    return blueprint.derived("analysis", _analyzed)


def _analyzed(blueprint: Blueprint) -> BlueprintAnalysis:
    entered = {edge.target for edge in blueprint.edges}
    left = {edge.source for edge in edges_taken(blueprint)}
    spare = fallback_only_ids(blueprint)
    cycles = find_cycles(blueprint)
    return BlueprintAnalysis(
        cycles=cycles,
        start_node_ids=tuple(n.id for n in blueprint.nodes if n.id not in entered and n.id not in spare),
        terminal_node_ids=tuple(n.id for n in blueprint.nodes if n.id not in left and n.id not in spare),
        node_count=len(blueprint.nodes),
        edge_count=len(blueprint.edges),
        is_dag=not cycles,
    )


def fallback_only_ids(blueprint: Blueprint) -> frozenset[str]:
    """Nodes named as a fallback that no edge enters: they have no place of their own in a run."""
    return blueprint.derived("fallbacks", _fallback_only)


def _fallback_only(blueprint: Blueprint) -> frozenset[str]:
    named = {node.config.fallback for node in blueprint.nodes if node.config.fallback}
    if not named:
        return frozenset()
    return frozenset(named & blueprint.node_ids) - {edge.target for edge in blueprint.edges}


def edges_taken(blueprint: Blueprint) -> tuple[EdgeDefinition, ...]:
    """The edges by position, as runs take them.

    One that leaves a node that is only a fallback leaves the node that it stands in for: ``stand_in_edges``.
    """
    return blueprint.derived("edges_taken", _edges_taken)


def _edges_taken(blueprint: Blueprint) -> tuple[EdgeDefinition, ...]:
    stand_in = stand_in_edges(blueprint)
    if not stand_in:
        return blueprint.edges
    owners = {node.config.fallback: node.id for node in reversed(blueprint.nodes)}
    return tuple(
        replace(edge, source=owners[edge.source]) if position in stand_in else edge
        for position, edge in enumerate(blueprint.edges)
    )


def stand_in_edges(blueprint: Blueprint) -> frozenset[int]:
    """Positions of the edges that leave a node that is only a fallback: taken where it has stood in."""
    spare = fallback_only_ids(blueprint)
    if not spare:
        return frozenset()
    return frozenset(position for position, edge in enumerate(blueprint.edges) if edge.source in spare)


def successors(blueprint: Blueprint) -> dict[str, list[str]]:
    """The targets of each node's edges, those with unknown ends left out; not to be changed."""
    return blueprint.derived("successors", _successors)


def _successors(blueprint: Blueprint) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {node.id: [] for node in blueprint.nodes}
    for edge in edges_taken(blueprint):
        if edge.source in targets and edge.target in targets:
            targets[edge.source].append(edge.target)
    return targets


def reachable(blueprint: Blueprint, starts: Iterable[str]) -> frozenset[str]:
    """The nodes that edges lead to from these, these included."""
    targets = successors(blueprint)
    found = {node_id for node_id in starts if node_id in targets}
    stack = list(found)
    while stack:
        for target in targets[stack.pop()]:
            if target not in found:
                found.add(target)
                stack.append(target)
    return frozenset(found)


def find_cycles(blueprint: Blueprint) -> tuple[tuple[str, ...], ...]:
    """A cycle for each edge that goes back in a depth-first walk; none if and only if the graph has none."""
    if goes_forward(blueprint):
        return ()
    targets = successors(blueprint)
    cycles: list[tuple[str, ...]] = []
    finished: set[str] = set()
    for root in targets:
        if root not in finished:
            _walk(root, targets, finished, cycles)
        if len(cycles) >= MAX_CYCLES:
            break
    return tuple(cycles)


def goes_forward(blueprint: Blueprint) -> bool:
    """Whether every edge leads from a node to one written later: most graphs are so, and it is soon seen."""
    return blueprint.derived("forward", _goes_forward)


def _goes_forward(blueprint: Blueprint) -> bool:
    places = {node.id: place for place, node in enumerate(blueprint.nodes)}
    last = len(places)
    if last < len(blueprint.nodes):
        return False
    find = places.get
    return all(find(edge.source, last) < find(edge.target, -1) for edge in edges_taken(blueprint))


def kinds(blueprint: Blueprint) -> frozenset[str]:
    """What its nodes use."""
    return blueprint.derived("kinds", lambda it: frozenset([node.uses for node in it.nodes]))


def _walk(
    root: str, targets: dict[str, list[str]], finished: set[str], cycles: list[tuple[str, ...]]
) -> None:
    path = [root]
    depth = {root: 0}
    pending = [iter(targets[root])]
    while pending:
        target = next(pending[-1], None)
        if target is None:
            pending.pop()
            done = path.pop()
            del depth[done]
            finished.add(done)
        elif target in depth:
            cycles.append((*path[depth[target] :], target))
            if len(cycles) >= MAX_CYCLES:
                return
        elif target not in finished:
            depth[target] = len(path)
            path.append(target)
            pending.append(iter(targets[target]))

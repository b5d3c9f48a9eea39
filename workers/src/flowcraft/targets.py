"""The part of a blueprint that leads to some of its nodes: what a partial run runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from flowcraft.analysis import edges_taken
from flowcraft.blueprint import Blueprint
from flowcraft.errors import AppError


def towards(blueprint: Blueprint, targets: Collection[str]) -> Blueprint:
    """The targets, all that lies before them, and what stands in for any of those.

    Raises:
        AppError: there is no node of a name.
    """
    known = {node.id: node for node in blueprint.nodes}
    for name in targets:
        if name not in known:
            raise AppError(
                f"blueprint {blueprint.id} has no node {name!r}; it has {', '.join(sorted(known))}"
            )
    before: dict[str, list[str]] = {}
    for edge in edges_taken(blueprint):
        before.setdefault(edge.target, []).append(edge.source)
    kept: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept.add(name)
        waiting += before.get(name, ())
        fallback = known[name].config.fallback if name in known else None
        if fallback in known:
            waiting.append(fallback)
    return replace(
        blueprint,
        nodes=tuple(node for node in blueprint.nodes if node.id in kept),
        edges=tuple(edge for edge in blueprint.edges if edge.source in kept and edge.target in kept),
    )

"""A blueprint's graph: the nodes that have keys of their own, what enters and leaves each, their order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flowcraft.analysis import edges_taken
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeDefinition


@dataclass(frozen=True, slots=True)
class Graph:
    """What a plan is made of.

    Attributes:
        blueprint: The blueprint.
        keyed: Its nodes without those that are only somebody's fallback.
        incoming: Positions of the edges that enter each node.
        outgoing: Positions of the edges that leave each node.
    """

    blueprint: Blueprint
    keyed: tuple[NodeDefinition, ...]
    incoming: Mapping[str, Sequence[int]]
    outgoing: Mapping[str, Sequence[int]]

    @property
    def edges(self) -> tuple[EdgeDefinition, ...]:
        """The blueprint's edges, those of fallbacks as edges of the nodes that they stand in for."""
        return edges_taken(self.blueprint)

    @classmethod
    def of(cls, blueprint: Blueprint) -> Graph:
        """Look at a blueprint's edges.

        Raises:
            ValueError: the blueprint was not linted: an edge's end is unknown.
        """
        incoming: dict[str, list[int]] = {node.id: [] for node in blueprint.nodes}
        outgoing: dict[str, list[int]] = {node.id: [] for node in blueprint.nodes}
        for position, edge in enumerate(edges_taken(blueprint)):
            if edge.source not in outgoing or edge.target not in incoming:
                raise ValueError(
                    f"edge {edge.source} -> {edge.target} of blueprint {blueprint.id} has an unknown end"
                )
            outgoing[edge.source].append(position)
            incoming[edge.target].append(position)
        fallbacks = {node.config.fallback for node in blueprint.nodes if node.config.fallback}
        keyed = tuple(node for node in blueprint.nodes if node.id not in fallbacks or incoming[node.id])
        return cls(blueprint, keyed, incoming, outgoing)

    def ordered(self, back: Collection[int] = ()) -> tuple[str, ...] | None:
        """The nodes so that every edge but these goes forward; None if there is no such order."""
        waiting = {node.id: sum(p not in back for p in self.incoming[node.id]) for node in self.keyed}
        order = [node_id for node_id, count in waiting.items() if not count]
        for node_id in order:  # grows while it is walked: Kahn's algorithm
            for position in self.outgoing[node_id]:
                target = self.edges[position].target
                if position not in back and target in waiting:
                    waiting[target] -= 1
                    if not waiting[target]:
                        order.append(target)
        return tuple(order) if len(order) == len(waiting) else None

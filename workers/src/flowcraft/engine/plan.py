"""A blueprint compiled for deciding: edges by node, joins, where the end is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeDefinition
from flowcraft.engine.keys import NodeKey

END = "end"
"""Name of the join of a run's end; node joins are named ``node:<key>``, so it cannot collide."""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node that has a key of its own in every run.

    Attributes:
        id: The node id.
        definition: Its definition.
        incoming: Positions of the edges that enter it.
        outgoing: Positions of the edges that leave it.
        any_join: Ready at the first taken edge instead of when all edges are resolved.
        arrives_at_end: Terminal, or a predecessor of an ``any`` join: the run cannot end before it.
    """

    id: str
    definition: NodeDefinition
    incoming: tuple[int, ...]
    outgoing: tuple[int, ...]
    any_join: bool
    arrives_at_end: bool

    @property
    def terminal(self) -> bool:
        """No edge leaves it: its output is part of the run's output."""
        return not self.outgoing


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine reads instead of a blueprint; made once a blueprint, shared by all its runs.

    Attributes:
        blueprint: The pinned blueprint.
        nodes: Planned nodes by id, without those that are only somebody's fallback.
        edges: The blueprint's edges; records name edges by position here.
        start: Ids of the nodes that no edge enters.
        order: Node ids so that every edge goes forward.
        end_sources: Ids of the nodes that arrive at the end.
    """

    blueprint: Blueprint
    nodes: Mapping[str, PlannedNode]
    edges: tuple[EdgeDefinition, ...]
    start: tuple[str, ...]
    order: tuple[str, ...]
    end_sources: tuple[str, ...]

    @classmethod
    def of(cls, blueprint: Blueprint) -> Plan:
        """Compile a blueprint; the plans of the last blueprints are kept by content.

        Raises:
            ValueError: the blueprint was not linted: an edge's end is unknown, or edges form a cycle.
        """
        return _compiled(blueprint)

    def node(self, key: str) -> PlannedNode:
        """The node that a key is a place of; of a child's key the node that it is a child of.

        Raises:
            KeyError: the blueprint has no such node.
        """
        found = self.nodes.get(key)  # a key outside of loops is the node's id
        return found if found is not None else self.nodes[NodeKey.parse(key).node]


@lru_cache(maxsize=256)
def _compiled_by_hash(key: _Key) -> Plan:
    return _compile(key.blueprint)


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    blueprint: Blueprint

    def __hash__(self) -> int:
        return hash(self.blueprint.content_hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.blueprint.content_hash == self.blueprint.content_hash


def _compiled(blueprint: Blueprint) -> Plan:
    return _compiled_by_hash(_Key(blueprint))


def _compile(blueprint: Blueprint) -> Plan:
    incoming: dict[str, list[int]] = {node.id: [] for node in blueprint.nodes}
    outgoing: dict[str, list[int]] = {node.id: [] for node in blueprint.nodes}
    for position, edge in enumerate(blueprint.edges):
        if edge.source not in outgoing or edge.target not in incoming:
            raise ValueError(
                f"edge {edge.source} -> {edge.target} of blueprint {blueprint.id} has an unknown end"
            )
        outgoing[edge.source].append(position)
        incoming[edge.target].append(position)
    fallbacks = {node.config.fallback for node in blueprint.nodes if node.config.fallback}
    keyed = [node for node in blueprint.nodes if node.id not in fallbacks or incoming[node.id]]
    before_any = {
        blueprint.edges[position].source
        for node in keyed
        if node.config.join_strategy == "any" and len(incoming[node.id]) > 1
        for position in incoming[node.id]
    }
    nodes = {
        node.id: PlannedNode(
            id=node.id,
            definition=node,
            incoming=tuple(incoming[node.id]),
            outgoing=tuple(outgoing[node.id]),
            any_join=node.config.join_strategy == "any",
            arrives_at_end=not outgoing[node.id] or node.id in before_any,
        )
        for node in keyed
    }
    return Plan(
        blueprint=blueprint,
        nodes=nodes,
        edges=blueprint.edges,
        start=tuple(node.id for node in nodes.values() if not node.incoming),
        order=_ordered(blueprint, nodes),
        end_sources=tuple(node.id for node in nodes.values() if node.arrives_at_end),
    )


def _ordered(blueprint: Blueprint, nodes: Mapping[str, PlannedNode]) -> tuple[str, ...]:
    waiting = {node.id: len(node.incoming) for node in nodes.values()}
    order = [node_id for node_id, count in waiting.items() if not count]
    for node_id in order:  # grows while it is walked: Kahn's algorithm
        for position in nodes[node_id].outgoing:
            target = blueprint.edges[position].target
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    if len(order) != len(nodes):
        raise ValueError(f"the edges of blueprint {blueprint.id} form a cycle")
    return tuple(order)

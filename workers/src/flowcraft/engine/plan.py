"""A blueprint compiled for deciding: edges by node, joins, loops, where the end is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from flowcraft.analysis import stand_in_edges
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeDefinition
from flowcraft.engine.graph import Graph
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.loop_plan import (
    Hop,
    PlannedLoop,
    arriving_in,
    hops_of,
    levels_of,
    loops_of,
    planned_loops,
)
from flowcraft.engine.loops import Loops

END = "end"
"""Name of the join of a run's end; node joins are named ``node:<key>``, so it cannot collide."""


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node that has a key of its own in every run.

    Attributes:
        id: The node id.
        definition: Its definition.
        incoming: Positions of the edges that enter it, back edges included.
        outgoing: Positions of the edges that leave it.
        any_join: Ready at the first taken edge instead of when all edges are resolved.
        arrives_at_end: What lies around it (the run, or a round of its loop) cannot end before it: terminal,
            a predecessor of an ``any`` join, or the source of an edge that may leave a loop which goes on.
        scope: Heads of the loops around it, outermost first.
        turns: It alone decides whether its innermost loop goes on: all back edges are its own.
    """

    id: str
    definition: NodeDefinition
    incoming: tuple[int, ...]
    outgoing: tuple[int, ...]
    any_join: bool
    arrives_at_end: bool
    scope: tuple[str, ...] = ()
    turns: bool = False

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
        edges: The blueprint's edges, as runs take them; records name edges by position here.
        start: Ids of the nodes that a run begins with: those that no edge enters, and heads chosen for loops
            that no edge enters; in a loop, their key is that of its first round.
        order: Node ids so that every edge but back edges goes forward.
        end_sources: What arrives at the end: node ids, and names of loops.
        loops: Loops by head, outer ones before those within them.
        hops: Where edges lead in terms of rounds, by position; empty without loops.
        stand_in: Positions of the edges that are taken only where the source's fallback has stood in for it.
        levels: What the run (None), and a round of each loop, is made of, in order: node ids, loops' names.
    """

    blueprint: Blueprint
    nodes: Mapping[str, PlannedNode]
    edges: tuple[EdgeDefinition, ...]
    start: tuple[str, ...]
    order: tuple[str, ...]
    end_sources: tuple[str, ...]
    loops: Mapping[str, PlannedLoop] = field(default_factory=dict)
    hops: tuple[Hop, ...] = ()
    levels: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)
    stand_in: frozenset[int] = frozenset()
    _incoming: dict[tuple[str, tuple[bool, ...]], tuple[int, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, blueprint: Blueprint) -> Plan:
        """Compile a blueprint; the plans of the last blueprints are kept by content.

        Raises:
            ValueError: the blueprint was not linted: an edge's end is unknown, or nobody can tell where a
                cycle begins.
        """
        return _compiled(blueprint)

    @property
    def terminal_nodes(self) -> tuple[str, ...]:
        """Nodes whose outputs make the run's output."""
        return tuple(node.id for node in self.nodes.values() if node.terminal)

    def node(self, key: str) -> PlannedNode:
        """The node that a key is a place of; of a child's key the node that it is a child of.

        Raises:
            KeyError: the blueprint has no such node.
        """
        found = self.nodes.get(key)  # a key outside of loops is the node's id
        return found if found is not None else self.nodes[NodeKey.parse(key).node]

    def knows(self, key: str) -> bool:
        """Whether a key is a place of a node of this blueprint, or of one's child."""
        parsed = NodeKey.parse(key)
        node = self.nodes.get(parsed.node)
        return node is not None and len(node.scope) == len(parsed.rounds)

    def incoming(self, key: str) -> tuple[int, ...]:
        """Positions of the edges that this key of a node waits for."""
        node = self.nodes.get(key)
        if node is not None and not node.scope:
            return node.incoming
        place = NodeKey.parse(key)
        node = self.nodes[place.node]
        if not node.scope:
            return node.incoming
        shape = (place.node, tuple(number == 1 for number in place.rounds))
        found = self._incoming.get(shape)
        if found is None:
            found = tuple(p for p in node.incoming if self.hops[p].leads_to(place.rounds))
            self._incoming[shape] = found
        return found

    def turning(self, key: str) -> PlannedLoop | None:
        """The loop of which this key begins another round than the first."""
        if not self.loops:
            return None
        place = NodeKey.parse(key)
        return self.loops.get(place.node) if place.rounds[-1:] > (1,) and place.child is None else None

    def placed(self, key: str) -> str:
        """The key that a signal means: that of a start node which only its id was given of, in round 1."""
        if not self.loops or key not in self.start:
            return key
        return str(NodeKey(key, (1,) * len(self.nodes[key].scope)))

    def start_keys(self) -> tuple[str, ...]:
        """The keys that a run begins with."""
        if not self.loops:
            return self.start
        return tuple(str(NodeKey(node_id, (1,) * len(self.nodes[node_id].scope))) for node_id in self.start)


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
    graph = Graph.of(blueprint)
    order = graph.ordered()
    found = Loops({}, {}, ())
    if order is None:
        found = loops_of(graph)
        back = frozenset(position for loop in found.by_head.values() for position in loop.back)
        order = graph.ordered(back)
    if order is None:
        raise ValueError(f"the edges of blueprint {blueprint.id} form a cycle")
    hops = hops_of(graph, found) if found.by_head else ()
    arriving = arriving_in(graph, found, hops)
    loops, end_sources = planned_loops(graph, found, hops, arriving)
    turners = {loop.turner for loop in loops.values()}
    nodes = {
        node.id: PlannedNode(
            id=node.id,
            definition=node,
            incoming=tuple(graph.incoming[node.id]),
            outgoing=tuple(graph.outgoing[node.id]),
            any_join=node.config.join_strategy == "any",
            arrives_at_end=node.id in arriving,
            scope=found.scopes.get(node.id, ()),
            turns=node.id in turners,
        )
        for node in graph.keyed
    }
    return Plan(
        blueprint=blueprint,
        nodes=nodes,
        edges=graph.edges,
        start=tuple(
            node.id
            for node in nodes.values()
            if all(node.id in loops and position in loops[node.id].back for position in node.incoming)
        ),
        order=order,
        end_sources=end_sources,
        loops=loops,
        hops=hops,
        levels=levels_of(graph, found, hops, loops) if loops else {None: order},
        stand_in=stand_in_edges(blueprint),
    )

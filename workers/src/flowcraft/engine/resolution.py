"""What follows from facts: edge states, joins, dead paths and the end of a run.

``follow`` looks at one new record and costs as much as the node has edges; ``resolve`` looks at all records
of a run. Both apply the same two rules: an edge is taken or dead once its source is resolved, and a node all
of whose incoming edges are dead is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from flowcraft.engine.plan import END, Plan, PlannedNode
from flowcraft.records import NodeRecord


class Join(Enum):
    """The state of a join."""

    OPEN = "open"
    READY = "ready"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class JoinStates:
    """Edges that one record (with its dead path) resolves at one join.

    Attributes:
        join: ``node:<id>`` or ``end``.
        node: The node id behind the join; empty for the end.
        states: Edge name to taken (True) or dead (False).
        expected: How many edges enter the join.
        any_join: Ready at the first taken edge.
    """

    join: str
    node: str
    states: Mapping[str, bool]
    expected: int
    any_join: bool

    @property
    def edge(self) -> str:
        """The edge in whose name this arrival is made: the same one whenever it is made again."""
        return next(iter(self.states))


@dataclass(frozen=True, slots=True)
class Wave:
    """What follows from one resolved node key without asking anybody.

    Attributes:
        ready: Nodes whose only edge was taken.
        skipped: Nodes on the dead path up to the next joins, in order.
        joins: Arrivals to make, once the skipped nodes are recorded.
        ended: The run has a single source of its end, and this was it.
    """

    ready: tuple[str, ...]
    skipped: tuple[str, ...]
    joins: tuple[JoinStates, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Resolution:
    """What all facts of a run say about it.

    Attributes:
        ready: Nodes that may run and have no record.
        skipped: Nodes on dead paths that have no record yet, in order.
        awaiting: Keys that wait for a time or a decision.
        failed: Keys that failed.
        ended: Every node key is resolved (the skipped ones of this resolution included).
        resolved: How many node keys are resolved.
        total: How many node keys there are.
    """

    ready: tuple[str, ...]
    skipped: tuple[str, ...]
    awaiting: tuple[str, ...]
    failed: tuple[str, ...]
    ended: bool
    resolved: int
    total: int


def join_state(states: Mapping[str, bool], expected: int, *, any_join: bool) -> Join:
    """The state of a join whose resolved edges are ``states``; the rest is open."""
    if any_join and any(states.values()):
        return Join.READY
    if len(states) < expected:
        return Join.OPEN
    return Join.READY if any(states.values()) else Join.DEAD


def follow(plan: Plan, node_id: str, taken: tuple[int, ...]) -> Wave:
    """What follows from a node that is resolved and took these edges (none: skipped, or nothing matched)."""
    ready: list[str] = []
    skipped: list[str] = []
    joins: dict[str, dict[str, bool]] = {}
    ended = False
    sources: list[tuple[str, frozenset[int]]] = [(node_id, frozenset(taken))]
    for source, chosen in sources:  # grows along the dead path
        node = plan.nodes[source]
        for position in node.outgoing:
            target = plan.nodes[plan.edges[position].target]
            is_taken = position in chosen
            if len(target.incoming) > 1:
                joins.setdefault(target.id, {})[str(position)] = is_taken
            elif is_taken:
                ready.append(target.id)
            else:
                skipped.append(target.id)
                sources.append((target.id, frozenset()))
        if node.arrives_at_end:
            if len(plan.end_sources) == 1:
                ended = True
            else:
                joins.setdefault(END, {})[source] = bool(chosen) or source == node_id
    return Wave(
        tuple(ready),
        tuple(skipped),
        tuple(_join(plan, name, states) for name, states in joins.items()),
        ended,
    )


def skip_path(plan: Plan, node_id: str) -> tuple[tuple[str, ...], Wave]:
    """A node that a join found dead: the keys to skip (itself first), and what follows from them."""
    wave = follow(plan, node_id, ())
    return (node_id, *wave.skipped), wave


def _join(plan: Plan, target: str, states: Mapping[str, bool]) -> JoinStates:
    if target == END:
        return JoinStates(END, "", states, len(plan.end_sources), any_join=False)
    node = plan.nodes[target]
    return JoinStates(f"node:{target}", target, states, len(node.incoming), any_join=node.any_join)


def predecessors(plan: Plan, join: JoinStates) -> tuple[str, ...]:
    """The nodes whose edges enter a join."""
    if not join.node:
        return plan.end_sources
    return tuple(dict.fromkeys(plan.edges[position].source for position in plan.nodes[join.node].incoming))


def recorded_states(plan: Plan, join: JoinStates, records: Mapping[str, NodeRecord]) -> dict[str, bool]:
    """The edges of a join that these records resolve, by edge name.

    A failed node resolves none: it fails the run, and nothing behind it may run or end the run otherwise.
    """
    settled = {key: record for key, record in records.items() if record.status in ("completed", "skipped")}
    if not join.node:
        return {key: record.status == "completed" for key, record in settled.items()}
    states = {}
    for position in plan.nodes[join.node].incoming:
        record = settled.get(plan.edges[position].source)
        if record is not None:
            states[str(position)] = record.took(position)
    return states


@dataclass(slots=True)
class _Walk:
    ready: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    awaiting: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    resolved: int = 0


def resolve(plan: Plan, records: Mapping[str, NodeRecord]) -> Resolution:
    """Derive, transitively, everything that the facts of a run imply; linear in the graph."""
    walk = _Walk()
    taken: dict[str, frozenset[int]] = {}
    for node_id in plan.order:
        record = records.get(node_id)
        if record is None:
            _derive(plan.nodes[node_id], plan, taken, walk)
        elif record.resolved:
            walk.resolved += 1
            taken[node_id] = frozenset(record.taken)
            if record.status == "failed":
                walk.failed.append(node_id)
        else:
            walk.awaiting.append(node_id)
    return Resolution(
        ready=tuple(walk.ready),
        skipped=tuple(walk.skipped),
        awaiting=tuple(walk.awaiting),
        failed=tuple(walk.failed),
        ended=all(node_id in taken for node_id in plan.end_sources) and not walk.ready and not walk.awaiting,
        resolved=walk.resolved,
        total=len(plan.nodes),
    )


def _derive(node: PlannedNode, plan: Plan, taken: dict[str, frozenset[int]], walk: _Walk) -> None:
    states = {
        str(position): position in taken[plan.edges[position].source]
        for position in node.incoming
        if plan.edges[position].source in taken
    }
    state = (
        Join.READY if not node.incoming else join_state(states, len(node.incoming), any_join=node.any_join)
    )
    if state is Join.READY:
        walk.ready.append(node.id)
    elif state is Join.DEAD:
        walk.skipped.append(node.id)
        walk.resolved += 1
        taken[node.id] = frozenset()

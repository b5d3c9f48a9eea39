"""What all facts of a run say: all that they imply, transitively, at a cost linear in the node keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.loop_plan import Hop, PlannedLoop
from flowcraft.engine.plan import Plan, PlannedNode
from flowcraft.engine.resolution import Join, join_state
from flowcraft.records import NodeRecord

_Exit = tuple[int, tuple[int, ...]]
"""An edge that leaves loops, and the rounds of those that it does not leave."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What all facts of a run say about it.

    Attributes:
        ready: Node keys that may run and have no record.
        skipped: Node keys on dead paths that have no record yet, in order.
        awaiting: Keys that wait for a time or a decision.
        failed: Keys that failed.
        ended: Every node key is resolved (the skipped ones of this resolution included).
        resolved: How many node keys are resolved.
        total: How many node keys there are, in the rounds that have begun.
        rounds: The number of the last round of each loop that is over, by its head and the rounds around it.
        dead_exits: Exits that no round took, of loops that are over: position, rounds around the loop.
        woken: Keys whose children are all resolved, and which are to go on.
    """

    ready: tuple[str, ...]
    skipped: tuple[str, ...]
    awaiting: tuple[str, ...]
    failed: tuple[str, ...]
    ended: bool
    resolved: int
    total: int
    rounds: Mapping[NodeKey, int] = field(default_factory=dict)
    dead_exits: tuple[tuple[int, tuple[int, ...]], ...] = ()
    woken: tuple[str, ...] = ()


def resolve(plan: Plan, records: Mapping[str, NodeRecord]) -> Resolution:
    """Derive, transitively, everything that the facts of a run imply; linear in the node keys."""
    walk = _Walk(plan, records)
    walk.level(None, ())
    return Resolution(
        ready=tuple(walk.ready),
        skipped=tuple(walk.skipped),
        awaiting=tuple(walk.awaiting),
        failed=tuple(walk.failed),
        ended=walk.resolved == walk.total,
        resolved=walk.resolved,
        total=walk.total,
        rounds=walk.rounds,
        dead_exits=tuple(walk.dead_exits),
    )


class _Walk:
    """Walks through a run: node by node along the edges, round by round through its loops."""

    def __init__(self, plan: Plan, records: Mapping[str, NodeRecord]) -> None:
        self._plan = plan
        self._records = records
        self._taken: dict[str, frozenset[int]] = {}
        self._loops = {loop.name: loop for loop in plan.loops.values()}
        self._leaving = _leaving(plan)
        self._exits_taken: set[_Exit] = set()
        self._exits_open: set[_Exit] = set()
        self.ready: list[str] = []
        self.skipped: list[str] = []
        self.awaiting: list[str] = []
        self.failed: list[str] = []
        self.resolved = 0
        self.total = 0
        self.rounds: dict[NodeKey, int] = {}
        self.dead_exits: dict[_Exit, None] = {}

    def level(self, head: str | None, rounds: tuple[int, ...]) -> None:
        """All nodes and loops of a run (no head), or of one round of a loop."""
        for item in self._plan.levels[head]:
            node = self._plan.nodes.get(item)
            if node is None:
                self._loop(self._loops[item], rounds)
            else:
                self._node(node, str(NodeKey(item, rounds)) if rounds else item, rounds)

    def _loop(self, loop: PlannedLoop, prefix: tuple[int, ...]) -> None:
        number, turned = 0, Join.READY
        while turned is Join.READY:
            number += 1
            self.level(loop.head, (*prefix, number))
            turned = self._state(NodeKey(loop.head, (*prefix, number + 1)))
        if turned is Join.DEAD:
            self.rounds[NodeKey(loop.head, prefix)] = number
        else:  # any exit from inside may be taken yet
            self._exits_open.update((hop.position, prefix[: hop.shared]) for hop in self._leaving[loop.head])
        for position in loop.exits:
            leaves = (position, prefix[: self._plan.hops[position].shared])
            if leaves not in self._exits_taken and leaves not in self._exits_open:
                self.dead_exits[leaves] = None

    def _node(self, node: PlannedNode, key: str, rounds: tuple[int, ...]) -> None:
        self.total += 1
        record = self._records.get(key)
        if record is None:
            state = self._state(NodeKey(node.id, rounds)) if rounds or node.incoming else Join.READY
            if state is Join.READY:
                self.ready.append(key)
            elif state is Join.DEAD:
                self.skipped.append(key)
                self._resolved(node, key, rounds, frozenset())
                return
        elif record.resolved:
            if record.status == "failed":
                self.failed.append(key)
            self._resolved(node, key, rounds, frozenset(record.taken))
            return
        else:
            self.awaiting.append(key)
        if rounds:
            self._exits_open.update(
                (position, rounds[: hop.shared])
                for position in node.outgoing
                if (hop := self._plan.hops[position]).leaves
            )

    def _resolved(self, node: PlannedNode, key: str, rounds: tuple[int, ...], taken: frozenset[int]) -> None:
        self.resolved += 1
        self._taken[key] = taken
        if rounds:
            self._exits_taken.update(
                (position, rounds[: hop.shared])
                for position in taken
                if (hop := self._plan.hops[position]).leaves
            )

    def _state(self, key: NodeKey) -> Join:
        plan = self._plan
        node = plan.nodes[key.node]
        incoming = plan.incoming(str(key)) if key.rounds else node.incoming
        if key.rounds and not incoming:
            return Join.READY  # the first round of a loop that a run begins with
        states = {
            str(position): state
            for position in incoming
            if (state := self._edge(position, key.rounds)) is not None
        }
        return join_state(states, len(incoming), any_join=node.any_join)

    def _edge(self, position: int, rounds: tuple[int, ...]) -> bool | None:
        """Whether an edge into a key with these rounds is taken; None while it is open."""
        plan = self._plan
        if not plan.hops:
            taken = self._taken.get(plan.edges[position].source)
            return None if taken is None else position in taken
        hop = plan.hops[position]
        prefix = hop.prefix(rounds)
        if hop.leaves:
            leaves = (position, prefix)
            return True if leaves in self._exits_taken else False if leaves in self.dead_exits else None
        taken = self._taken.get(str(NodeKey(hop.source, prefix)))
        return None if taken is None else position in taken


def _leaving(plan: Plan) -> dict[str, list[Hop]]:
    """For each loop the edges that leave it, and perhaps more loops around it."""
    leaving: dict[str, list[Hop]] = {head: [] for head in plan.loops}
    for hop in plan.hops:
        for head in hop.leaves:
            leaving[head].append(hop)
    return leaving

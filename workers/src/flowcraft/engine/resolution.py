"""What follows from facts: edge states, joins, dead paths and the end of a run.

``follow`` looks at one new record and costs as much as the node has edges; ``resolve`` (in ``derivation``)
looks at all records of a run. Both apply the same rules. An edge is taken or dead once its source is
resolved, and a node all of whose incoming edges are dead is skipped. In loops, where a node has a key for
each round:

* A back edge that is taken begins the next round; one that is not resolves nothing by itself. Where all back
  edges are one node's, that node decides; otherwise a join of the round's back edges does: ready, it begins
  the next round; dead, the loop is over.
* An edge that leaves a loop is taken at once in the round that takes it. It is dead when the loop is over and
  no round took it: known at once where taking it and turning exclude each other, else when the last round is
  resolved. Read otherwise, loops end runs early or hold them up for ever.
* What ends a round, where it takes more than the node that turns, is a join of its own (``round:``), which
  waits for the round before it as well: each round costs the same, however many there are. Turned, it arrives
  at the next one's; over, at the end of what lies around the loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from sys import intern
from typing import Final

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.loop_plan import Hop, PlannedLoop
from flowcraft.engine.plan import END, Plan

TURN: Final = "turn]"
"""The edge by which a round's join learns whether there is a next one; no node id ends in a bracket."""
BEFORE: Final = "before]"
"""The edge from the join of the round before."""


class Join(Enum):
    """The state of a join."""

    OPEN = "open"
    READY = "ready"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class JoinStates:
    """Edges that one record (with its dead path) resolves at one join.

    Attributes:
        join: ``node:<key>``, ``round:<head and rounds>`` or ``end``.
        node: The node key behind the join; empty for the end, and for rounds.
        states: Edge name to taken (True) or dead (False); at a round's join only the turn can be taken, so
            that it is ready when the loop goes on, and dead when it is over.
        expected: How many edges enter the join.
        any_join: Ready at the first taken edge.
        round: Of a round's join: head and rounds, as a key.
        by: The edge in whose name this arrival is made, where it is not the first one of the states.
    """

    join: str
    node: str
    states: Mapping[str, bool]
    expected: int
    any_join: bool
    round: str = ""
    by: str = ""

    @property
    def edge(self) -> str:
        """The edge in whose name this arrival is made: the same one whenever it is made again."""
        return self.by or next(iter(self.states))


@dataclass(frozen=True, slots=True)
class Wave:
    """What follows from one resolved node key without asking anybody.

    Attributes:
        ready: Node keys that may run.
        skipped: Node keys on the dead path up to the next joins, in order.
        joins: Arrivals to make, once the skipped node keys are recorded.
        ended: The run has a single source of its end, and this was it.
    """

    ready: tuple[str, ...]
    skipped: tuple[str, ...]
    joins: tuple[JoinStates, ...]
    ended: bool


def join_state(states: Mapping[str, bool], expected: int, *, any_join: bool) -> Join:
    """The state of a join whose resolved edges are ``states``; the rest is open."""
    if any_join and any(states.values()):
        return Join.READY
    if len(states) < expected:
        return Join.OPEN
    return Join.READY if any(states.values()) else Join.DEAD


def follow(plan: Plan, key: str, taken: Collection[int]) -> Wave:
    """What follows from a node key that is resolved and took these edges (none: skipped, or no edge fits)."""
    spread = _Spread(plan)
    spread.resolved(key, taken)
    return spread.wave()


def skip_path(plan: Plan, key: str) -> tuple[tuple[str, ...], Wave]:
    """A node key that a join found dead: the keys to skip (itself first), and what follows from them."""
    wave = follow(plan, key, ())
    return (key, *wave.skipped), wave


def fired(plan: Plan, join: JoinStates, *, ready: bool) -> Wave:
    """What follows from a node's join that is resolved; the skipped keys include the node's own."""
    loop = plan.turning(join.node) if join.join.startswith("node:") else None
    if loop is not None:  # the join of a round's back edges
        rounds = NodeKey.parse(join.node).rounds
        turn = round_join(plan, loop, (*rounds[:-1], rounds[-1] - 1), {TURN: ready})
        return Wave((join.node,) if ready else (), (), (turn,), ended=False)
    if ready:
        return Wave((join.node,), (), (), ended=False)
    keys, wave = skip_path(plan, join.node)
    return Wave(wave.ready, keys, wave.joins, wave.ended)


def round_over(
    plan: Plan, loop: PlannedLoop, rounds: tuple[int, ...], *, turned: bool, taken_exits: Collection[int]
) -> Wave:
    """What follows from a round of which everything is resolved.

    Args:
        plan: The plan.
        loop: The loop.
        rounds: The round.
        turned: The loop goes on.
        taken_exits: Those of its open exits that any round took.
    """
    if turned:
        following = round_join(plan, loop, (*rounds[:-1], rounds[-1] + 1), {BEFORE: False})
        return Wave((), (), (following,), ended=False)
    spread = _Spread(plan)
    for position in loop.open_exits:
        if position not in taken_exits:
            spread.edge(plan.hops[position], rounds, is_taken=False)
    spread.arrive(loop.scope[:-1], rounds[:-1], loop.name, is_taken=False)
    spread.spread()
    return spread.wave()


def round_join(
    plan: Plan, loop: PlannedLoop, rounds: tuple[int, ...], states: Mapping[str, bool]
) -> JoinStates:
    """Arrivals at the join of all that a round is made of, and of the round before it."""
    name = str(NodeKey(loop.head, rounds))
    expected = len(loop.sources) + 1 + (rounds[-1] > 1)
    return JoinStates(f"round:{name}", "", states, expected, any_join=False, round=name)


@dataclass(slots=True)
class _Arrivals:
    """What is known of one join so far."""

    states: dict[str, bool] = field(default_factory=dict)
    key: str = ""
    round: tuple[PlannedLoop, tuple[int, ...]] | None = None
    by: str = ""


class _Spread:
    """Collects what follows, along dead paths up to the next joins."""

    __slots__ = ("_dead", "_ended", "_joins", "_plan", "_ready", "_skipped")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ready: list[str] = []
        self._skipped: list[str] = []
        self._dead: list[str] = []
        self._joins: dict[str, _Arrivals] = {}
        self._ended = False

    def wave(self) -> Wave:
        """What was collected."""
        joins = tuple(self._join(name, arrivals) for name, arrivals in self._joins.items())
        return Wave(tuple(self._ready), tuple(self._skipped), joins, self._ended)

    def resolved(self, key: str, taken: Collection[int]) -> None:
        """A node key is resolved: its edges are, and what dies with them."""
        self._visit(key, frozenset(taken), is_taken=True)
        self.spread()

    def spread(self) -> None:
        """Follow the keys that died."""
        for key in self._dead:  # grows along the dead path
            self._visit(key, frozenset(), is_taken=False)

    def _visit(self, key: str, taken: frozenset[int], *, is_taken: bool) -> None:
        plan = self._plan
        node = plan.nodes.get(key)
        if node is not None and not node.scope:  # its edges enter loops at most: nothing is left open
            for position in node.outgoing:
                target = plan.nodes[plan.edges[position].target]
                if target.scope:
                    self.edge(plan.hops[position], (), is_taken=position in taken)
                elif len(target.incoming) > 1:
                    self._at_join(target.id).states[str(position)] = position in taken
                elif position in taken:
                    self._ready.append(target.id)
                else:
                    self._die(target.id)
            if node.arrives_at_end:
                self.arrive((), (), node.id, is_taken=is_taken or bool(taken))
        else:
            self._visit_in_loop(NodeKey.parse(key), taken, is_taken=is_taken)

    def _visit_in_loop(self, key: NodeKey, taken: frozenset[int], *, is_taken: bool) -> None:
        plan = self._plan
        node = plan.nodes[key.node]
        loop = plan.loops[node.scope[-1]] if node.turns else None
        turned = loop is not None and loop.turned_by(taken)
        for position in node.outgoing:
            hop = plan.hops[position]
            if loop is not None and position in loop.back:
                continue  # they are decided together, below
            chosen = position in taken
            if chosen or not hop.leaves or (hop.at_once and not turned):
                self.edge(hop, key.rounds, is_taken=chosen)
        if loop is not None:
            if turned:
                self._ready.append(str(NodeKey(loop.head, (*key.rounds[:-1], key.rounds[-1] + 1))))
            if not loop.tight:
                self._at_round(loop, key.rounds)[TURN] = turned
        if node.arrives_at_end:
            self.arrive(node.scope, key.rounds, node.id, is_taken=is_taken or bool(taken))

    def edge(self, hop: Hop, rounds: tuple[int, ...], *, is_taken: bool) -> None:
        """An edge is resolved, whose source has these rounds."""
        plan = self._plan
        place = hop.target_key(rounds)
        target = str(place)
        waits = len(plan.incoming(target)) > 1 or hop.back or not hop.at_once
        if waits:
            arrivals = self._at_join(target)
            if not arrivals.states and not hop.at_once:  # other rounds may take it, too
                arrivals.by = str(NodeKey(str(hop.position), rounds))
            arrivals.states[str(hop.position)] = is_taken
        elif is_taken:
            self._ready.append(target)
        else:
            self._die(target)

    def arrive(self, scope: tuple[str, ...], rounds: tuple[int, ...], source: str, *, is_taken: bool) -> None:
        """Something that the end of a scope waits for is resolved."""
        if scope:
            self._at_round(self._plan.loops[scope[-1]], rounds)[source] = False
        elif len(self._plan.end_sources) == 1:
            self._ended = True
        else:
            self._joins.setdefault(END, _Arrivals()).states[source] = is_taken

    def _die(self, key: str) -> None:
        self._skipped.append(key)
        self._dead.append(key)

    def _at_join(self, key: str) -> _Arrivals:
        name = intern(f"node:{key}")  # all that arrive there name it
        arrivals = self._joins.get(name)
        if arrivals is None:
            arrivals = self._joins[name] = _Arrivals(key=key)
        return arrivals

    def _at_round(self, loop: PlannedLoop, rounds: tuple[int, ...]) -> dict[str, bool]:
        name = f"round:{NodeKey(loop.head, rounds)}"
        arrivals = self._joins.get(name)
        if arrivals is None:
            arrivals = self._joins[name] = _Arrivals(round=(loop, rounds))
        return arrivals.states

    def _join(self, name: str, arrivals: _Arrivals) -> JoinStates:
        plan = self._plan
        if arrivals.round is not None:
            return round_join(plan, *arrivals.round, arrivals.states)
        if not arrivals.key:
            return JoinStates(END, "", arrivals.states, len(plan.end_sources), any_join=False)
        expected, any_join = len(plan.incoming(arrivals.key)), plan.node(arrivals.key).any_join
        return JoinStates(name, arrivals.key, arrivals.states, expected, any_join, by=arrivals.by)

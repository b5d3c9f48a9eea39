"""Loops as they are planned: where edges lead in terms of rounds, and what ends a round."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flowcraft.engine.graph import Graph
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.loops import Loops, entry_points, find_loops

MAX_ROUNDS: Final = 10_000
"""Rounds of a loop, as upstream bounds them, unless a node's ``params.maxIterations`` says otherwise."""


@dataclass(frozen=True, slots=True)
class PlannedLoop:
    """A loop, as its rounds are decided.

    Attributes:
        head: The node at which a round begins.
        scope: Heads of the loops around its nodes, itself the last.
        back: Positions of the edges that begin the next round.
        turner: The node that alone decides whether there is one; None: a join of the back edges does.
        exits: Positions of the edges of which it is the outermost loop that they leave.
        open_exits: Those of them that may be taken in a round though the loop goes on.
        sources: What must be resolved in a round besides the decision to turn; other loops in brackets.
        tight: Once the turner is resolved, everything in the round is, and what follows from it lies behind
            the exits: nobody need wait for the loop itself.
        max_rounds: The guard against a loop without end.
        size: How many nodes are in it, those of loops within it included: node keys of a round.
    """

    head: str
    scope: tuple[str, ...]
    back: tuple[int, ...]
    turner: str | None
    exits: tuple[int, ...]
    open_exits: tuple[int, ...]
    sources: tuple[str, ...]
    tight: bool
    max_rounds: int
    size: int

    @property
    def parent(self) -> str | None:
        """Head of the loop around it."""
        return self.scope[-2] if len(self.scope) > 1 else None

    @property
    def name(self) -> str:
        """What it is called among the sources of an end; no node is called so."""
        return f"[{self.head}]"

    def turned_by(self, taken: Collection[int]) -> bool:
        """Whether a node that took these edges began the next round."""
        return any(position in taken for position in self.back)


@dataclass(frozen=True, slots=True)
class Hop:
    """Where an edge leads in terms of rounds.

    Attributes:
        position: The edge.
        source: Its source.
        target: Its target.
        shared: How many of the source's counters the target's key begins with.
        back: The last of these is one higher: the edge begins the next round.
        enters: How many loops it enters: in each of them, round 1.
        leaves: Heads of the loops it leaves, outermost first.
        at_once: It is resolved when its source is; otherwise only once the outermost loop it leaves is over,
            unless it is taken before.
    """

    position: int
    source: str
    target: str
    shared: int
    back: bool
    enters: int
    leaves: tuple[str, ...]
    at_once: bool

    def target_key(self, rounds: tuple[int, ...]) -> NodeKey:
        """The key it leads to from these rounds of its source, or of the loops around those it leaves."""
        kept = rounds[: self.shared]
        if self.back:
            kept = (*kept[:-1], kept[-1] + 1)
        return NodeKey(self.target, kept + (1,) * self.enters)

    def prefix(self, target_rounds: tuple[int, ...]) -> tuple[int, ...]:
        """The rounds of its source's loops that it does not leave, for these rounds of its target."""
        kept = target_rounds[: self.shared]
        return (*kept[:-1], kept[-1] - 1) if self.back else kept

    def leads_to(self, target_rounds: tuple[int, ...]) -> bool:
        """Whether it is one of the edges that a key of its target waits for.

        A back edge never leads to a first round; an edge from outside only to the first one.
        """
        if self.back:
            return target_rounds[self.shared - 1] > 1
        return all(number == 1 for number in target_rounds[self.shared :])


def loops_of(graph: Graph) -> Loops:
    """The loops of a graph.

    Raises:
        ValueError: nobody can tell where one of its cycles begins.
    """
    found = find_loops(
        [node.id for node in graph.blueprint.nodes], graph.edges, entry_points(graph.blueprint.metadata)
    )
    if found.unclear:
        problem = found.unclear[0]
        raise ValueError(
            f"the edges of blueprint {graph.blueprint.id} form a cycle with {problem.why}: "
            f"{', '.join(problem.candidates[:5])}"
        )
    return found


def hops_of(graph: Graph, found: Loops) -> tuple[Hop, ...]:
    """Where each edge leads in terms of rounds."""
    turners = {head: _turner(graph, found, head) for head in found.by_head}
    hops = []
    for position, edge in enumerate(graph.edges):
        source, target = found.scopes.get(edge.source, ()), found.scopes.get(edge.target, ())
        back = edge.target in found.by_head and position in found.by_head[edge.target].back
        shared = len(target)
        if not back:
            shared = next(
                (n for n, pair in enumerate(zip(source, target, strict=False)) if pair[0] != pair[1]),
                min(len(source), len(target)),
            )
        leaves = source[shared:]
        hops.append(
            Hop(
                position,
                edge.source,
                edge.target,
                shared,
                back,
                len(target) - shared,
                leaves,
                not leaves
                or (
                    len(leaves) == 1
                    and turners[leaves[0]] == edge.source
                    and all(graph.edges[p].action != edge.action for p in found.by_head[leaves[0]].back)
                ),
            )
        )
    return tuple(hops)


def _turner(graph: Graph, found: Loops, head: str) -> str | None:
    """The source of all back edges, if it is one node, and in no loop within the loop.

    All edges that a node takes have the same action, or none: an exit of the turner whose action differs from
    that of its back edges is therefore never taken in a round after which the loop goes on.
    """
    sources = {graph.edges[position].source for position in found.by_head[head].back}
    turner = next(iter(sources))
    return turner if len(sources) == 1 and found.scopes[turner][-1] == head else None


def arriving_in(graph: Graph, found: Loops, hops: Sequence[Hop]) -> frozenset[str]:
    """The nodes that what lies around them has to wait for; see ``PlannedNode.arrives_at_end``."""
    arriving = {node.id for node in graph.keyed if not graph.outgoing[node.id]}
    arriving.update(hop.source for hop in hops if not hop.at_once)
    for node in graph.keyed:
        if node.config.join_strategy != "any":
            continue
        loop = found.by_head.get(node.id)
        back = set(loop.back) if loop is not None else set()
        entries = [position for position in graph.incoming[node.id] if position not in back]
        if len(entries) > 1:
            arriving.update(graph.edges[position].source for position in entries)
        if back and _turner(graph, found, node.id) is None:
            arriving.update(graph.edges[position].source for position in back)
    return frozenset(arriving)


def planned_loops(
    graph: Graph, found: Loops, hops: Sequence[Hop], arriving: frozenset[str]
) -> tuple[dict[str, PlannedLoop], tuple[str, ...]]:
    """The loops by head, outer ones first; and what the end of the run waits for."""
    planned: dict[str, PlannedLoop] = {}
    leaving: dict[str, list[int]] = {head: [] for head in found.by_head}
    for hop in hops:
        if hop.leaves:
            leaving[hop.leaves[0]].append(hop.position)
    sources: dict[tuple[str, ...], list[str]] = {}
    for node in graph.keyed:
        if node.id in arriving:
            sources.setdefault(found.scopes.get(node.id, ()), []).append(node.id)
    for head, loop in reversed(tuple(found.by_head.items())):  # those within a loop first
        turner, scope, exits = _turner(graph, found, head), found.scopes[head], leaving[head]
        open_exits = tuple(position for position in exits if not hops[position].at_once)
        inside = tuple(sources.get(scope, ()))
        planned[head] = PlannedLoop(
            head=head,
            scope=scope,
            back=loop.back,
            turner=turner,
            exits=tuple(exits),
            open_exits=open_exits,
            sources=inside,
            tight=turner is not None and bool(exits) and not open_exits and not inside,
            max_rounds=_max_rounds(graph, loop.back, turner),
            size=len(loop.nodes),
        )
        if not planned[head].tight:
            sources.setdefault(scope[:-1], []).append(planned[head].name)
    return {head: planned[head] for head in found.by_head}, tuple(sources.get((), ()))


def _max_rounds(graph: Graph, back: Sequence[int], turner: str | None) -> int:
    given = [
        graph.blueprint.node(node_id).params.get("maxIterations")
        for node_id in ([turner] if turner else {graph.edges[position].source for position in back})
    ]
    numbers = [n for n in given if isinstance(n, int) and not isinstance(n, bool) and n > 0]
    return min(numbers, default=MAX_ROUNDS)


def levels_of(
    graph: Graph, found: Loops, hops: Sequence[Hop], planned: Mapping[str, PlannedLoop]
) -> dict[str | None, tuple[str, ...]]:
    """For the run (None) and for each loop what it is made of, in order: node ids, and names of loops within.

    Every edge that does not lead back goes forward in one of them: where the paths of its ends part.
    """
    waiting: dict[str | None, dict[str, int]] = {head: {} for head in (None, *planned)}
    following: dict[str, list[str]] = {}
    for node in graph.keyed:
        scope = found.scopes.get(node.id, ())
        waiting[scope[-1] if scope else None][node.id] = 0
    for loop in planned.values():
        waiting[loop.parent][loop.name] = 0
    for hop in hops:
        if not hop.back:
            level, source = _part(hop.source, found, planned, hop.shared)
            _, target = _part(hop.target, found, planned, hop.shared)
            following.setdefault(source, []).append(target)
            waiting[level][target] += 1
    return {level: _sorted(counts, following) for level, counts in waiting.items()}


def _part(
    node_id: str, found: Loops, planned: Mapping[str, PlannedLoop], depth: int
) -> tuple[str | None, str]:
    """The level at a depth, and as what of it a node counts: itself, or the loop that it is in."""
    scope = found.scopes.get(node_id, ())
    level = scope[depth - 1] if depth else None
    return level, planned[scope[depth]].name if len(scope) > depth else node_id


def _sorted(waiting: dict[str, int], following: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    order = [item for item, count in waiting.items() if not count]
    for item in order:  # grows while it is walked: Kahn's algorithm
        for target in following.get(item, ()):
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    return tuple(order)

"""The loops of a graph: which nodes are in them, where each is entered, which edges lead back.

A loop grows around a cycle, a part of the graph in which every node leads to every other. Its *head* is the
node that is entered from outside; the edges inside that lead to the head are its *back edges*. Loops that
share a head are therefore one loop. Without the back edges, what is still cyclic are loops within the loop.

What only a loop leads to belongs to it as well, as long as it goes on: a node that writes a log in each round
has to run in each round. Behind the edges that lead *out* of it is what comes after the loop: edges whose
action no edge of the same node that stays in the loop has, where no other way of the round leads to a back
edge at the same time. A node that also something else leads to is outside in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from flowcraft.definitions import EdgeDefinition
from flowcraft.engine.dominance import Passages

Edges = Sequence[EdgeDefinition]
MAX_DEPTH: Final = 50
"""Loops within loops that are looked for; nobody draws more, and each costs a walk through the graph."""
MAX_LOOKED_AT: Final = 200
"""Nodes beside others in a loop of which it is found out whether the loop is over once they leave it; each
costs a walk through the loop. Of further ones what follows belongs to the loop."""
_TURN: Final = "turn]"
_END: Final = "end]"
"""Stand for the next round, and for what comes after a round; node ids end in no bracket."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop of a graph.

    Attributes:
        head: Where each of its rounds begins.
        parent: Head of the loop around it; None for an outermost one.
        nodes: All nodes in it, those of loops within it included.
        back: Positions of its back edges: taken, they begin the next round.
    """

    head: str
    parent: str | None
    nodes: frozenset[str]
    back: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unclear:
    """A cycle whose head nobody can tell.

    Attributes:
        why: No edge leads into it, or edges lead to several of its nodes; or it is nested too deeply.
        candidates: Nodes that ``metadata.cycleEntryPoints`` may choose from, in the order written.
    """

    why: Literal["no entry", "several entries", "too deep"]
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loops:
    """What was found.

    Attributes:
        by_head: Loops by their head, outer ones before those within them.
        scopes: For each node in a loop the heads of the loops around it, outermost first.
        unclear: Cycles that cannot run; for each, its first candidate stands in as head.
    """

    by_head: Mapping[str, Loop]
    scopes: Mapping[str, tuple[str, ...]]
    unclear: tuple[Unclear, ...]


def entry_points(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The heads that a blueprint's ``metadata.cycleEntryPoints`` chooses; what is no list chooses none."""
    given = metadata.get("cycleEntryPoints")
    return (
        frozenset(item for item in given if isinstance(item, str)) if isinstance(given, list) else frozenset()
    )


def find_loops(node_ids: Iterable[str], edges: Edges, chosen: Collection[str] = ()) -> Loops:
    """Find the loops of a graph.

    Args:
        node_ids: The nodes, in the order written.
        edges: The edges; both ends of each must be nodes.
        chosen: Nodes that are to be heads where the graph leaves it open.
    """
    by_head: dict[str, Loop] = {}
    scopes: dict[str, tuple[str, ...]] = {}
    unclear: list[Unclear] = []
    nodes = list(node_ids)
    graph = _Graph.of(nodes, edges)
    parts = [_Part(nodes, range(len(edges)), None, 1)]
    for part in parts:  # grows by what is inside each loop
        level = _Level(graph, part)
        for number, component in enumerate(level.components):
            if component[0] in level.absorbed or not level.is_cyclic(component):
                continue
            head, problem = _head(component, level.entered(component), chosen)
            if problem is not None:
                unclear.append(problem)
            elif part.depth > MAX_DEPTH:
                unclear.append(Unclear("too deep", (head,)))
                continue
            region = level.region(number, head)
            back = tuple(position for position in graph.into[head] if edges[position].source in region)
            by_head[head] = Loop(head, part.head, frozenset(region), back)
            for node_id in region:
                scopes[node_id] = (*scopes.get(node_id, ()), head)
            forward = [p for node_id in region for p in level.following[node_id] if edges[p].target in region]
            parts.append(
                _Part(list(region), [p for p in forward if edges[p].target != head], head, part.depth + 1)
            )
    return Loops(by_head, scopes, tuple(unclear))


@dataclass(frozen=True, slots=True)
class _Graph:
    edges: Edges
    place: Mapping[str, int]
    into: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, nodes: Sequence[str], edges: Edges) -> _Graph:
        into: dict[str, list[int]] = {node_id: [] for node_id in nodes}
        for position, edge in enumerate(edges):
            into[edge.target].append(position)
        return cls(edges, {node_id: place for place, node_id in enumerate(nodes)}, into)


@dataclass(frozen=True, slots=True)
class _Part:
    """The graph, or what is inside a loop once its back edges are taken out."""

    nodes: Sequence[str]
    edges: Sequence[int]
    head: str | None
    depth: int


class _Level:
    """The cycles of a part, and what belongs to each of them."""

    def __init__(self, graph: _Graph, part: _Part) -> None:
        self._graph = graph
        self.following: dict[str, list[int]] = {node_id: [] for node_id in part.nodes}
        for position in part.edges:
            self.following[graph.edges[position].source].append(position)
        self.components = self._components(part.nodes)
        self._component = {
            node_id: number for number, component in enumerate(self.components) for node_id in component
        }
        self.absorbed: set[str] = set()

    def _components(self, nodes: Sequence[str]) -> list[list[str]]:
        """The strongly connected parts, so that edges between them go forward."""
        walk = _Walk({n: [self._graph.edges[p].target for p in self.following[n]] for n in nodes})
        for root in nodes:
            if root not in walk.seen:
                walk.down(root)
        return [sorted(component, key=self._graph.place.__getitem__) for component in reversed(walk.found)]

    def is_cyclic(self, component: Sequence[str]) -> bool:
        """Whether its nodes lead to each other, or its only one to itself."""
        first = component[0]
        return len(component) > 1 or any(
            self._graph.edges[position].target == first for position in self.following[first]
        )

    def entered(self, component: Sequence[str]) -> frozenset[str]:
        """The nodes of a component that edges from elsewhere lead to."""
        return frozenset(self._graph.edges[position].target for position in self._into(component))

    def region(self, number: int, head: str) -> dict[str, None]:
        """The nodes of the loop that grows around a cyclic component."""
        cycle = frozenset(self.components[number])
        ways = _Ways(self._graph, self.following, cycle, head)
        region = dict.fromkeys(self.components[number])
        met: dict[int, int] = {}
        for node_id in (pending := list(region)):  # grows by what only the loop leads to
            for position in self.following[node_id]:
                other = self._component[self._graph.edges[position].target]
                if self.components[other][0] in region or ways.leads_out(position):
                    continue
                met[other] = met.get(other, 0) + 1
                if met[other] == sum(1 for _ in self._into(self.components[other])):
                    region.update(dict.fromkeys(self.components[other]))
                    self.absorbed.update(self.components[other])
                    pending.extend(self.components[other])
        return region

    def _into(self, component: Sequence[str]) -> Iterator[int]:
        """The edges from elsewhere into a component, those from outside of this part included."""
        inside = frozenset(component)
        for node_id in component:
            for position in self._graph.into[node_id]:
                if self._graph.edges[position].source not in inside:
                    yield position


class _Ways:
    """The ways through a cycle, from its head back to it."""

    def __init__(
        self, graph: _Graph, following: Mapping[str, Sequence[int]], cycle: frozenset[str], head: str
    ) -> None:
        self._edges = graph.edges
        self._following = following
        self._cycle = cycle
        self._head = head
        everything = {
            source: [self._target(position) for position in positions]
            for source, positions in self._inside(None).items()
        }
        self._alone = dict.fromkeys(Passages(everything, _TURN).chain(head), True)
        self._looked_at = 0

    def leads_out(self, position: int) -> bool:
        """Whether an edge that leaves the cycle is one after which no further round begins."""
        edge = self._edges[position]
        source = edge.source
        if source not in self._cycle:
            return False
        staying = [self._edges[p] for p in self._following[source] if self._edges[p].target in self._cycle]
        if any(other.action == edge.action for other in staying):
            return False
        if source not in self._alone:
            self._looked_at += 1
            self._alone[source] = self._looked_at <= MAX_LOOKED_AT and not self._races(source)
        return self._alone[source]

    def _races(self, node_id: str) -> bool:
        """Whether a round that reaches a node may turn without it.

        So it is where some node takes edges at once from which ways lead on, without a node in common, one to
        the node and one to a back edge.
        """
        following = {
            source: [self._target(position) for position in positions]
            for source, positions in self._inside(node_id).items()
        }
        passages = Passages({**following, node_id: [_END], _TURN: [_END]}, _END)
        for positions in self._inside(node_id).values():
            at_once: dict[str | None, list[str]] = {}
            for position in positions:
                at_once.setdefault(self._edges[position].action, []).append(self._target(position))
            if any(passages.common(targets) == _END for targets in at_once.values()):
                return True
        return False

    def _target(self, position: int) -> str:
        target = self._edges[position].target
        return _TURN if target == self._head else target

    def _inside(self, avoided: str | None) -> dict[str, list[int]]:
        """The edges of the nodes that a round reaches without passing one."""
        reached: dict[str, list[int]] = {}
        pending = [] if avoided == self._head else [self._head]
        while pending:
            node_id = pending.pop()
            if node_id in reached:
                continue
            positions = [p for p in self._following[node_id] if self._edges[p].target in self._cycle]
            reached[node_id] = positions
            targets = (self._edges[position].target for position in positions)
            pending.extend(target for target in targets if target not in (avoided, self._head))
        return reached


def _head(
    component: Sequence[str], entered: Collection[str], chosen: Collection[str]
) -> tuple[str, Unclear | None]:
    candidates = [node_id for node_id in component if node_id in entered] or component
    if len(candidates) == 1 and entered:
        return candidates[0], None
    named = [node_id for node_id in candidates if node_id in chosen]
    if len(named) == 1:
        return named[0], None
    return candidates[0], Unclear("several entries" if entered else "no entry", tuple(named or candidates))


class _Walk:
    """Tarjan's algorithm: a depth-first walk that finds strongly connected parts, the last ones first."""

    def __init__(self, following: Mapping[str, Sequence[str]]) -> None:
        self._following = following
        self._lowest: dict[str, int] = {}
        self._open: dict[str, None] = {}  # in the order met
        self.seen: dict[str, int] = {}
        self.found: list[list[str]] = []

    def down(self, root: str) -> None:
        """Walk from a node that was not met."""
        path = [(root, self._meet(root))]
        while path:
            node_id, targets = path[-1]
            target = next(targets, None)
            if target is None:
                path.pop()
                if path:
                    before = path[-1][0]
                    self._lowest[before] = min(self._lowest[before], self._lowest[node_id])
                if self._lowest[node_id] == self.seen[node_id]:
                    self._close(node_id)
            elif target not in self.seen:
                path.append((target, self._meet(target)))
            elif target in self._open:
                self._lowest[node_id] = min(self._lowest[node_id], self.seen[target])

    def _meet(self, node_id: str) -> Iterator[str]:
        self.seen[node_id] = self._lowest[node_id] = len(self.seen)
        self._open[node_id] = None
        return iter(self._following[node_id])

    def _close(self, first: str) -> None:
        part: list[str] = []
        while not part or part[-1] != first:
            part.append(self._open.popitem()[0])
        self.found.append(part)

"""Bugs in what follows from the rounds of a loop."""

from __future__ import annotations

from typing import Any

from tests.simulation.planted.patches import Patches, Where, bug

from flowcraft.engine import plan as plans
from flowcraft.engine import resolution

LOOPS = Where("calm", told="stories with loops", family="loops")


@bug(
    "rounds are not waited for",
    instead="the end does not wait for terminal nodes within loops",
    rule="terminals of every round arrive at the end",
    marked=True,
    where=LOOPS,
)
def _rounds_are_not_waited_for(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def arriving_in(graph: Any, found: Any, hops: Any) -> frozenset[str]:
            arriving: frozenset[str] = original(graph, found, hops)
            return frozenset(key for key in arriving if not found.scopes.get(key) or graph.outgoing[key])

        return arriving_in

    plans._compiled_by_hash.cache_clear()
    patches.wrap(plans, "arriving_in", around)
    patches.afterwards(plans._compiled_by_hash.cache_clear)


@bug(
    "exits die in each round",
    instead="an edge that leaves a loop is dead as soon as one round does not take it",
    rule="an exit is dead only when the loop is over and no round took it",
    marked=True,
    where=LOOPS,
)
def _exits_die_in_each_round(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def visit_in_loop(self: Any, key: Any, taken: frozenset[int], *, is_taken: bool) -> None:
            original(self, key, taken, is_taken=is_taken)
            for position in self._plan.nodes[key.node].outgoing:
                hop = self._plan.hops[position]
                if hop.leaves and position not in taken:
                    self.edge(hop, key.rounds, is_taken=False)

        return visit_in_loop

    patches.wrap(resolution._Spread, "_visit_in_loop", around)


@bug(
    "back edges resolve nodes",
    instead="a back edge that is not taken begins the next round as a dead one",
    rule="a back edge not taken resolves nothing",
    marked=True,
    where=LOOPS,
)
def _back_edges_resolve(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def visit_in_loop(self: Any, key: Any, taken: frozenset[int], *, is_taken: bool) -> None:
            original(self, key, taken, is_taken=is_taken)
            node = self._plan.nodes[key.node]
            loop = self._plan.loops[node.scope[-1]] if node.turns else None
            if loop is not None and is_taken and not loop.turned_by(taken):  # of a dead round there is no end
                self._die(str(type(key)(loop.head, (*key.rounds[:-1], key.rounds[-1] + 1))))

        return visit_in_loop

    patches.wrap(resolution._Spread, "_visit_in_loop", around)

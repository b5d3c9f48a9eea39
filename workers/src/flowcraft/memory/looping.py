"""Loops in a run in memory: the marks that tell how they went, and what a node key sees because of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.lookup import Known, Lookup, Seen
from flowcraft.engine.marks import dead_marks, exit_marks, round_marks, taken_exits
from flowcraft.engine.plan import Plan
from flowcraft.engine.resolution import JoinStates, Wave, round_over
from flowcraft.records import NodeRecord


class Marks:
    """The marks of one run; of a run without loops there are none."""

    def __init__(self, plan: Plan, records: Mapping[str, NodeRecord]) -> None:
        self._plan = plan
        self._records = records
        self._marks: dict[str, Any] = {}

    def learn(self, key: str, taken: Collection[int]) -> None:
        """What a resolved node key says of the exits of its loops."""
        if self._plan.loops:
            self._marks.update(exit_marks(self._plan, key, tuple(taken)))

    def round_over(self, join: JoinStates, *, turned: bool) -> Wave:
        """What follows from a round of which everything is resolved."""
        place = NodeKey.parse(join.round)
        loop, prefix = self._plan.loops[place.node], place.rounds[:-1]
        self._marks.update(round_marks(loop, place.rounds, turned=turned))
        taken = taken_exits(loop, prefix, self._marks)
        if not turned:
            self._marks.update(dead_marks(loop, prefix, place.rounds, taken))
        return round_over(self._plan, loop, place.rounds, turned=turned, taken_exits=taken)

    def seen(self, key: str, named: Iterable[str] = (), *, edges: bool = True) -> Seen:
        """What a node key sees behind its edges, and of the nodes that it names."""
        known = Known()
        lookup = Lookup(self._plan, NodeKey.parse(key), named, known, edges=edges)
        while (ask := lookup.ask()) is not None:
            known.answer(ask, self._records, self._marks)
        return lookup.seen

    def latest(self, node_ids: Iterable[str]) -> dict[str, NodeRecord]:
        """For each node its record; in a loop, that of the last round in which it ran."""
        if not self._plan.loops:
            return {node_id: self._records[node_id] for node_id in node_ids if node_id in self._records}
        return self.seen("", node_ids, edges=False).records

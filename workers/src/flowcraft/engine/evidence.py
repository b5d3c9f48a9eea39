"""What facts say of a join: which records and marks to look at, and what they tell of its edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowcraft.engine.keys import NodeKey
from flowcraft.engine.loop_plan import PlannedLoop
from flowcraft.engine.marks import ExitMark, exit_name, over_name, round_name
from flowcraft.engine.plan import Plan
from flowcraft.engine.resolution import BEFORE, TURN, Join, JoinStates, join_state
from flowcraft.records import NodeRecord


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a join's edges can be read.

    Attributes:
        keys: Node keys whose records resolve edges of the join.
        marks: Names of the marks that do.
    """

    keys: tuple[str, ...]
    marks: tuple[str, ...] = ()


def evidence(plan: Plan, join: JoinStates) -> Evidence:
    """The facts that tell the state of a join; a fixed number, whatever the round."""
    if not plan.loops:
        return Evidence(predecessors(plan, join))
    keys, marks = _Names(plan).of(join)
    return Evidence(tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(marks)))


def predecessors(plan: Plan, join: JoinStates) -> tuple[str, ...]:
    """The node keys whose edges enter a join, as far as they can be told without facts."""
    if plan.loops:
        return evidence(plan, join).keys
    if not join.node:
        return plan.end_sources
    return tuple(dict.fromkeys(plan.edges[position].source for position in plan.nodes[join.node].incoming))


def recorded_states(
    plan: Plan,
    join: JoinStates,
    records: Mapping[str, NodeRecord],
    marks: Mapping[str, Any] | None = None,
) -> dict[str, bool]:
    """The edges of a join that these facts resolve, by edge name.

    A failed node resolves none: it fails the run, and nothing behind it may run or end the run otherwise.
    """
    settled = {key: record for key, record in records.items() if record.status in ("completed", "skipped")}
    if plan.loops:
        return _States(plan, settled, marks or {}).of(join)
    if not join.node:
        return {key: record.status == "completed" for key, record in settled.items()}
    states = {}
    for position in plan.nodes[join.node].incoming:
        record = settled.get(plan.edges[position].source)
        if record is not None:
            states[str(position)] = record.took(position)
    return states


def edge_state(
    plan: Plan, position: int, key: NodeKey, records: Mapping[str, NodeRecord], marks: Mapping[str, Any]
) -> bool | None:
    """Whether an edge into a node key is taken; None while it is open.

    Args:
        plan: The plan.
        position: The edge.
        key: The node key that it enters.
        records: Records of nodes that are completed or skipped.
        marks: Marks by name.
    """
    hop = plan.hops[position]
    prefix = hop.prefix(key.rounds)
    if hop.leaves:
        mark = ExitMark.read(marks.get(exit_name(position, prefix)))
        return None if mark is None else mark.taken
    record = records.get(str(NodeKey(hop.source, prefix)))
    return None if record is None else record.took(position)


@dataclass(frozen=True, slots=True)
class _Names:
    plan: Plan

    def of(self, join: JoinStates) -> tuple[list[str], list[str]]:
        if join.node:
            return self._at_node(NodeKey.parse(join.node))
        if not join.round:
            return self._of_sources(self.plan.end_sources, ())
        place = NodeKey.parse(join.round)
        loop, rounds = self.plan.loops[place.node], place.rounds
        keys, marks = self._of_sources(loop.sources, rounds)
        if loop.turner is not None:
            keys.append(str(NodeKey(loop.turner, rounds)))
        else:
            more_keys, more_marks = self._at_node(_following(loop, rounds))
            keys += more_keys
            marks += more_marks
        if rounds[-1] > 1:
            marks.append(round_name(loop.head, _before(rounds)))
        return keys, marks

    def _at_node(self, key: NodeKey) -> tuple[list[str], list[str]]:
        keys, marks = [], []
        for position in self.plan.incoming(str(key)):
            hop = self.plan.hops[position]
            prefix = hop.prefix(key.rounds)
            if hop.leaves:
                marks.append(exit_name(position, prefix))
            else:
                keys.append(str(NodeKey(hop.source, prefix)))
        return keys, marks

    def _of_sources(self, sources: tuple[str, ...], rounds: tuple[int, ...]) -> tuple[list[str], list[str]]:
        loops = {loop.name: loop.head for loop in self.plan.loops.values()}
        keys = [str(NodeKey(source, rounds)) for source in sources if source not in loops]
        return keys, [over_name(loops[source], rounds) for source in sources if source in loops]


@dataclass(frozen=True, slots=True)
class _States:
    plan: Plan
    records: Mapping[str, NodeRecord]
    marks: Mapping[str, Any]

    def of(self, join: JoinStates) -> dict[str, bool]:
        if join.node:
            return self._at_node(NodeKey.parse(join.node))
        if not join.round:
            return self._of_sources(self.plan.end_sources, (), at_end=True)
        place = NodeKey.parse(join.round)
        loop, rounds = self.plan.loops[place.node], place.rounds
        states = self._of_sources(loop.sources, rounds, at_end=False)
        turned = self._turned(loop, rounds)
        if turned is not None:
            states[TURN] = turned
        if rounds[-1] > 1 and round_name(loop.head, _before(rounds)) in self.marks:
            states[BEFORE] = False
        return states

    def _turned(self, loop: PlannedLoop, rounds: tuple[int, ...]) -> bool | None:
        if loop.turner is not None:
            record = self.records.get(str(NodeKey(loop.turner, rounds)))
            return None if record is None else loop.turned_by(record.taken)
        head = _following(loop, rounds)
        any_join = self.plan.nodes[loop.head].any_join
        state = join_state(self._at_node(head), len(self.plan.incoming(str(head))), any_join=any_join)
        return None if state is Join.OPEN else state is Join.READY

    def _at_node(self, key: NodeKey) -> dict[str, bool]:
        states = {}
        for position in self.plan.incoming(str(key)):
            state = edge_state(self.plan, position, key, self.records, self.marks)
            if state is not None:
                states[str(position)] = state
        return states

    def _of_sources(
        self, sources: tuple[str, ...], rounds: tuple[int, ...], *, at_end: bool
    ) -> dict[str, bool]:
        heads = {loop.name: loop.head for loop in self.plan.loops.values()}
        states: dict[str, bool] = {}
        for source in sources:
            if source in heads:
                if over_name(heads[source], rounds) in self.marks:
                    states[source] = False
                continue
            record = self.records.get(str(NodeKey(source, rounds)))
            if record is not None:
                states[source] = at_end and record.status == "completed"
        return states


def _before(rounds: tuple[int, ...]) -> tuple[int, ...]:
    return (*rounds[:-1], rounds[-1] - 1)


def _following(loop: PlannedLoop, rounds: tuple[int, ...]) -> NodeKey:
    return NodeKey(loop.head, (*rounds[:-1], rounds[-1] + 1))

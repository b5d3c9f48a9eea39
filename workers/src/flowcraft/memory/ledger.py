"""What a run in memory knows: records, context, marks of loops, owners of children; and what follows from it.

Every decision is the engine's: the input of a node, what becomes ready, which joins are resolved. Here they
are only carried out, on facts that are dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from flowcraft.engine.children import is_children_join, seq_after
from flowcraft.engine.inputs import Facts, Needs, node_input
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.reading import key_of, meant
from flowcraft.engine.resolution import Join, JoinStates, Wave, fired, join_state
from flowcraft.memory.children import Owners
from flowcraft.memory.looping import Marks
from flowcraft.memory.program import Program, Step
from flowcraft.memory.result import deleted_by
from flowcraft.memory.stamps import Stamps
from flowcraft.node import MISSING
from flowcraft.records import NodeRecord
from flowcraft.telemetry import Telemetry

_FIRED: Final[dict[str, bool]] = {}
"""Stands for the arrivals of a join that has been decided."""


class Ledger:
    """The facts of one run.

    Attributes:
        records: What is known of each node key.
        context: The run's shared keys, as committed by completed nodes.
        deleted: Those that were deleted: a field of the run's input that one hid stays hidden.
        writes: Context keys that each node key wrote, in the order of its completion.
        marks: How its loops went.
        owners: Who has children.
        ended: Every node key is resolved.
        input: The run's input.
        everything: All of it, as what a node may see; outside of loops.
        now: Gives the time as records have it.
    """

    def __init__(
        self,
        program: Program,
        run_input: Any,
        stamps: Stamps,
        telemetry: Telemetry | None,
        *,
        inputs: Mapping[str, Any],
        queue: Callable[[str], None],
    ) -> None:
        """``queue`` takes node keys that became ready; ``inputs`` stand for those that nodes would get."""
        self.records: dict[str, NodeRecord] = {}
        self.context: dict[str, Any] = {}
        self.deleted: set[str] = set()
        self.writes: dict[str, Mapping[str, Any]] = {}
        self.marks = Marks(program.plan, self.records)
        self.owners = Owners(program)
        self.ended = False
        self.input = run_input
        self._plan = program.plan
        self._evaluator = program.evaluator
        self.now = stamps.now
        self._telemetry = telemetry
        self._inputs = inputs
        self._queue = queue
        self.everything = Facts(self.records, self.context, run_input, deleted=self.deleted)
        self._arrived: dict[str, dict[str, bool]] = {}

    def take_over(self, records: Mapping[str, NodeRecord], context: Mapping[str, Any]) -> None:
        """Know what an earlier part of the run has left, and what follows from it."""
        self.records.update(records)
        self.context.update(context)
        self.deleted.update(deleted_by(self.writes.values()))
        begun = [self.owners.learn(record) for record in records.values() if record.children is not None]
        for wave in filter(None, begun):
            self.route(wave)
        for record in records.values():
            if record.resolved:
                self.marks.learn(record.key, record.taken)
        for record in records.values():
            if record.status == "completed":
                self.follow(record.key, record.taken)

    # ---- what a node sees ----

    def input_of(self, key: str, step: Step) -> Any:
        """What a node key gets."""
        given = self._inputs
        if given:
            for name in (key, step.planned.id):
                if name in given:
                    return given[name]
        owned = self.owners.owned(key)
        if owned is not None:
            named = self.owners.facts(owned, key, self.everything)
            if self._plan.loops:  # a name means another record in each round
                wanted = owned.needs(self._plan, key, self._evaluator).records
                named = replace(named, records=self.marks.seen(key, wanted, edges=False).records)
            return owned.input(self._plan, key, named)
        return node_input(self._plan, key, self.facts_of(key, step))

    async def read(self, name: str) -> Any:
        """What a node's code reads under a name, in a run without loops."""
        if name in self.context:
            return self.context[name]
        node_id = key_of(name)
        record = self.records.get(node_id) if node_id in self._plan.nodes else None
        return meant(self._plan, name, self.everything, record)

    async def read_in_round(self, key: str, name: str) -> Any:
        """What the code of a node key reads under a name: a node's output is that which this key sees."""
        if name in self.context:
            return self.context[name]
        node_id = key_of(name)
        seen = self.marks.seen(key, (node_id,), edges=False).records if node_id in self._plan.nodes else {}
        return meant(self._plan, name, self.everything, seen.get(node_id))

    def facts_of(self, key: str, step: Step) -> Facts:
        """What a node key may see: where it names facts, those alone, as a worker would load them."""
        wanted = step.needs
        if self._plan.loops:
            return self._facts_in_loops(key, wanted)
        if wanted is None:
            return self.everything
        records = self.records
        return Facts(
            {name: records[name] for name in wanted.records if name in records},
            self._named(wanted),
            self.input,
            deleted=self.deleted,
        )

    def _facts_in_loops(self, key: str, wanted: Needs | None) -> Facts:
        seen = self.marks.seen(key, wanted.named if wanted is not None else ())
        behind = {record.node: record for record in seen.edges.values()}
        context = self._named(wanted) if wanted is not None else {}
        return Facts({**behind, **seen.records}, context, self.input, seen.edges, self.deleted)

    def _named(self, wanted: Needs) -> dict[str, Any]:
        return {name: self.context[name] for name in wanted.context if name in self.context}

    # ---- records ----

    def awaiting(self, key: str, step: Step, started: str) -> NodeRecord:
        """An ``awaiting`` record, to be completed by the caller."""
        own = self.records.get(key)
        return NodeRecord(
            key,
            step.planned.id,
            "awaiting",
            started_at=started,
            seq=self.seq(key, step),
            waits_for=None if own is None else own.waits_for,
        )

    def seq(self, key: str, step: Step) -> int:
        """The logical time of a node key's record."""
        own, owned = self.records.get(key), self.owners.owned(key)
        if own is not None and own.kind == "children":
            return seq_after(own)
        if owned is not None:
            return owned.seq
        if self._plan.loops:
            return 1 + max((record.seq for record in self.marks.seen(key).edges.values()), default=0)
        records, highest = self.records, 0
        for source in step.sources:
            if source in records:
                highest = max(highest, records[source].seq)
        return highest + 1

    def keep(self, record: NodeRecord, writes: Mapping[str, Any]) -> None:
        """Know a record and, with it, what its node wrote."""
        if writes:
            self.write(record.key, writes)
        self.records[record.key] = record
        if self._telemetry is not None:
            self._telemetry.recorded(self._plan, record, writes)

    def write(self, key: str, writes: Mapping[str, Any]) -> None:
        """Know what a node key wrote to the context."""
        if writes:
            self.writes[key] = writes
        for name, value in writes.items():
            if value is MISSING:
                self.context.pop(name, None)
                self.deleted.add(name)
            else:
                self.context[name] = value
                self.deleted.discard(name)

    # ---- what follows from them ----

    def follow(self, key: str, taken: tuple[int, ...]) -> None:
        """Do what follows from a node key that is resolved and took these edges."""
        self.route(self.owners.follow(key, taken))

    def route(self, wave: Wave) -> None:
        """Record the dead path of a wave, queue what it made ready, and make its arrivals."""
        waves = [wave]
        for current in waves:  # grows where a join is dead
            self._skip(current.skipped)
            for key in current.ready:
                if key not in self.records:
                    self._queue(key)
            self.ended = self.ended or current.ended
            for join in current.joins:
                state = self._arrive(join)
                if state is Join.OPEN:
                    continue
                if join.round:
                    waves.append(self.marks.round_over(join, turned=state is Join.READY))
                elif not join.node:
                    self.ended = True
                elif is_children_join(join.join):
                    self._wake(join.node)
                else:
                    waves.append(fired(self._plan, join, ready=state is Join.READY))

    def _wake(self, key: str) -> None:
        """The children of a node key are all resolved; it goes on, unless it did so before."""
        if not self.records[key].resolved:
            self._queue(key)

    def _skip(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            if key not in self.records:
                self.records[key] = NodeRecord(
                    key, NodeKey.parse(key).node, "skipped", finished_at=self.now()
                )
                self.marks.learn(key, ())
                if self._telemetry is not None:
                    self._telemetry.skipped((key,))

    def _arrive(self, join: JoinStates) -> Join:
        """The state of a join after these edges; ``OPEN`` also if it was decided before."""
        states = self._arrived.setdefault(join.join, {})
        if states is _FIRED:
            return Join.OPEN
        states.update(join.states)
        state = join_state(states, join.expected, any_join=join.any_join)
        if state is not Join.OPEN:
            self._arrived[join.join] = _FIRED
        return state

"""Children in a run in memory: what their owners have made, and the steps that children are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowcraft.engine.children import Children, gathered, owner_of
from flowcraft.engine.inputs import Facts
from flowcraft.engine.making import Owned, gathered_ids
from flowcraft.engine.plan import Plan
from flowcraft.engine.resolution import Wave
from flowcraft.memory.program import Program, Step
from flowcraft.records import NodeRecord


class Owners:
    """The owners of children in one run."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._owned: dict[str, Owned] = {}
        self._families: dict[str, Children] = {}
        self._steps: dict[str, tuple[Step, ...]] = {}

    def learn(self, record: NodeRecord) -> Wave | None:
        """Remember an owner's record; the children that are ready at once. None of any other record."""
        children = Children.of(record)
        if children is None:
            return None
        self._families[record.key] = children
        if not record.resolved:
            owned = self._owned[record.key] = Owned.of(record)
            self._steps[record.key] = tuple(map(self._program.child, owned.nodes))
        return Wave(() if record.resolved else children.first(), (), (), ended=False)

    def forget(self, owner: str) -> None:
        """What children were made of, once they are all resolved."""
        self._owned.pop(owner, None)
        self._steps.pop(owner, None)

    def owned(self, key: str) -> Owned | None:
        """What a child is made of; None of any other key."""
        owner = owner_of(key) if key.endswith("]") else None
        return None if owner is None else self._owned.get(owner)

    def step(self, key: str) -> Step:
        """The step that a node key is, a child's included."""
        owned = self.owned(key)
        if owned is None:
            return self._program.step(key)
        steps = self._steps[owned.children.owner]
        return steps[0 if owned.items is not None else owned.children.place(key)]

    def facts(self, owned: Owned, key: str, everything: Facts) -> Facts:
        """What a child may see: what it names."""
        needs = owned.needs(self._program.plan, key, self._program.evaluator)
        return Facts(
            {name: everything.records[name] for name in needs.records if name in everything.records},
            {name: everything.context[name] for name in needs.context if name in everything.context},
            everything.run_input,
            deleted=everything.deleted,
        )

    def follow(self, key: str, taken: tuple[int, ...]) -> Wave:
        """What follows from a node key that is resolved."""
        owner = owner_of(key) if key.endswith("]") else None
        if owner is None or owner not in self._families:
            return self._program.follow(key, taken)
        return self._families[owner].follow(key)


def gather(plan: Plan, key: str, facts: Facts, records: Mapping[str, NodeRecord]) -> list[Any]:
    """What a ``batch-gather`` node gives: the outputs of the children of whoever it gathers, in order."""
    found: list[Any] = []
    for owner in _owners(plan, key, facts, records):
        children = Children.of(owner)
        if children is not None:
            found += gathered(children, records)
    return found


def _owners(plan: Plan, key: str, facts: Facts, records: Mapping[str, NodeRecord]) -> Sequence[NodeRecord]:
    found = []
    for node_id, place in gathered_ids(plan, key).items():
        record = facts.records.get(node_id) or records.get(place)
        if record is not None:
            found.append(record)
    return found

"""What a node reads: which facts to load for it, and its input made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from flowcraft.definitions import NodeDefinition
from flowcraft.engine.plan import Plan
from flowcraft.engine.subflows import sources_of
from flowcraft.node import MISSING
from flowcraft.records import NodeRecord
from flowcraft.values import value_class

LOOP_CONTROLLER: Final = "loop-controller"


class Evaluator(Protocol):
    """Conditions and transforms: pure functions of an expression and a scope."""

    def reads(self, expression: str) -> frozenset[tuple[str, ...]]:
        """The paths that the expression reads, each from its top-level name on."""
        ...

    def condition(self, expression: str, scope: Mapping[str, Any]) -> bool:
        """Whether the condition holds. Raises ``EvaluationError``."""
        ...

    def transform(self, expression: str, scope: Mapping[str, Any]) -> Any:
        """The value the expression gives. Raises ``EvaluationError``."""
        ...


@dataclass(frozen=True, slots=True)
class Needs:
    """Facts that a node key's turn reads.

    Attributes:
        records: Node ids whose outputs its input or its edges name, or whose edges enter it.
        context: Context keys named by its inputs, conditions and transforms.
        named: Node ids that are named; in a loop that may be the node itself, as it was a round ago.
    """

    records: frozenset[str]
    context: frozenset[str]
    named: frozenset[str] = field(default=frozenset(), compare=False)


def needs(plan: Plan, key: str, evaluator: Evaluator) -> Needs:
    """The facts to load before a node runs, the same for all its keys; static, so one request is enough."""
    node = plan.node(key)
    records: set[str] = set()
    context: set[str] = set()
    sources = node.definition.inputs
    if sources is not None:
        for source in [sources] if isinstance(sources, str) else sources.values():
            _place(plan, _split(source)[0], records, context)
    for source in sources_of(node.definition):
        context.add(source)
        _place(plan, _split(source)[0], records, context)
    itself = node.id in records and bool(node.scope)
    condition = controller_condition(node.definition)
    if condition is not None:
        _read_by(plan, condition, evaluator, records, context)
    for position in node.outgoing:
        edge = plan.edges[position]
        for expression in (edge.condition, edge.transform):
            if expression:
                _read_by(plan, expression, evaluator, records, context)
    records.discard(node.id)
    named = frozenset(records | {node.id}) if itself else frozenset(records)
    records.update(plan.edges[position].source for position in node.incoming)
    records.discard(node.id)
    return Needs(frozenset(records), frozenset(context), named)


def controller_condition(definition: NodeDefinition) -> str | None:
    """The condition of a ``loop-controller``: whether its loop goes on."""
    if definition.uses != LOOP_CONTROLLER:
        return None
    condition = definition.params.get("condition")
    return condition if isinstance(condition, str) and condition else None


def _read_by(plan: Plan, expression: str, evaluator: Evaluator, records: set[str], context: set[str]) -> None:
    for name, *rest in evaluator.reads(expression):
        if name in ("result", "input"):
            continue
        if name in ("_outputs", "context"):
            for head in rest[:1]:
                if name == "context" or head in plan.nodes:
                    _place(plan, head, records, context)
        else:
            _place(plan, name, records, context)


def _split(source: str) -> tuple[str, tuple[str, ...]]:
    head, *rest = source.split(".")
    if head == "_outputs" and rest:
        return rest[0], tuple(rest[1:])
    return head, tuple(rest)


def _place(plan: Plan, head: str, records: set[str], context: set[str]) -> None:
    if head in plan.nodes:
        records.add(head)
    else:
        context.add(head)


@value_class
class Facts:
    """What was loaded for a node.

    Attributes:
        records: By node id.
        context: Context keys.
        run_input: The run's input.
        edges: In a run with loops: by edge, the record that took it; the same node may have several.
        deleted: Context keys that were deleted, and hide a field of the run's input all the same.
    """

    records: Mapping[str, NodeRecord]
    context: Mapping[str, Any]
    run_input: Any
    edges: Mapping[int, NodeRecord] | None = None
    deleted: Collection[str] = ()

    def behind(self, position: int, source: str) -> NodeRecord | None:
        """The record that took an edge, given with its source."""
        if self.edges is not None:
            return self.edges.get(position)
        record = self.records.get(source)
        return record if record is not None and record.took(position) else None

    def value(self, name: str) -> Any:
        """A context key, else the run's input of that name, else a node's output, else null."""
        if name in self.context:
            return self.context[name]
        if isinstance(self.run_input, Mapping) and name in self.run_input and name not in self.deleted:
            return self.run_input[name]
        record = self.records.get(name)
        return record.output if record is not None else None

    def written(self, writes: Mapping[str, Any]) -> Facts:
        """The facts once these context keys are written; ``MISSING`` deletes."""
        context = {**self.context, **writes}
        deleted = {name for name, value in writes.items() if value is MISSING}
        kept = {name: value for name, value in context.items() if value is not MISSING}
        left = {*self.deleted, *deleted} - kept.keys()
        return Facts(self.records, kept, self.run_input, self.edges, left)


def node_input(plan: Plan, key: str, facts: Facts) -> Any:
    """The input of a node key: what its ``inputs`` name, else the values of its taken edges.

    Start nodes get the run's input; one taken edge gives its value (its transform's, or its source's output);
    several give an object by source node id.
    """
    sources = plan.node(key).definition.inputs
    if isinstance(sources, str):
        return _named(sources, plan, facts)
    if sources is not None:
        return {name: _named(source, plan, facts) for name, source in sources.items()}
    incoming = plan.incoming(key)
    if not incoming:
        return facts.run_input
    if len(incoming) == 1:
        return input_behind(incoming[0], plan.edges[incoming[0]].source, facts)
    values: dict[str, Any] = {}
    for position in incoming:
        record = facts.behind(position, plan.edges[position].source)
        if record is not None:
            values[record.node] = record.values.get(position, record.output)
    return next(iter(values.values())) if len(values) == 1 else values


def input_behind(position: int, source: str, facts: Facts) -> Any:
    """The input of a node key that only this edge enters: its value, where it is taken."""
    record = facts.behind(position, source)
    return {} if record is None else record.values.get(position, record.output)


def given_value(source: str, plan: Plan, facts: Facts) -> Any:
    """What a source in ``params.inputs`` of a subflow means.

    A context key, else a node's output, else a field of the run's input, whole or a part of it.
    """
    if source in facts.context:
        return facts.context[source]
    given = facts.run_input
    if source in plan.nodes or not isinstance(given, Mapping) or source not in given:
        return _named(source, plan, facts)
    return None if source in facts.deleted else given[source]


def _named(source: str, plan: Plan, facts: Facts) -> Any:
    head, rest = _split(source)
    if head in plan.nodes:
        record = facts.records.get(head)
        value = record.output if record is not None else None
    else:
        value = facts.value(head)
    for part in rest:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value

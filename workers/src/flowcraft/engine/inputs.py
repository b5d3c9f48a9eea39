"""What a node reads: which facts to load for it, and its input made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flowcraft.engine.plan import Plan
from flowcraft.engine.subflows import sources_of
from flowcraft.records import NodeRecord


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
    """

    records: frozenset[str]
    context: frozenset[str]


def needs(plan: Plan, node_id: str, evaluator: Evaluator) -> Needs:
    """The facts to load before the node runs; static, so one request is enough."""
    node = plan.nodes[node_id]
    records = {plan.edges[position].source for position in node.incoming}
    context: set[str] = set()
    sources = node.definition.inputs
    if sources is not None:
        for source in [sources] if isinstance(sources, str) else sources.values():
            _place(plan, _split(source)[0], records, context)
    for source in sources_of(node.definition):
        context.add(source)
        _place(plan, _split(source)[0], records, context)
    for position in node.outgoing:
        edge = plan.edges[position]
        for expression in (edge.condition, edge.transform):
            if expression:
                _read_by(plan, expression, evaluator, records, context)
    records.discard(node_id)
    return Needs(frozenset(records), frozenset(context))


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


@dataclass(frozen=True, slots=True)
class Facts:
    """What was loaded for a node: records by node id, context keys, the run's input."""

    records: Mapping[str, NodeRecord]
    context: Mapping[str, Any]
    run_input: Any

    def value(self, name: str) -> Any:
        """A context key, else the run's input of that name, else a node's output, else null."""
        if name in self.context:
            return self.context[name]
        if isinstance(self.run_input, Mapping) and name in self.run_input:
            return self.run_input[name]
        record = self.records.get(name)
        return record.output if record is not None else None


def node_input(plan: Plan, node_id: str, facts: Facts) -> Any:
    """The input of a node: what its ``inputs`` name, else the values of its taken edges.

    Start nodes get the run's input; one taken edge gives its value (its transform's, or its source's output);
    several give an object by source node id.
    """
    node = plan.nodes[node_id]
    sources = node.definition.inputs
    if isinstance(sources, str):
        return _named(sources, plan, facts)
    if sources is not None:
        return {name: _named(source, plan, facts) for name, source in sources.items()}
    if not node.incoming:
        return facts.run_input
    values: dict[str, Any] = {}
    for position in node.incoming:
        record = facts.records.get(plan.edges[position].source)
        if record is not None and record.took(position):
            values[record.node] = record.values.get(position, record.output)
    return next(iter(values.values())) if len(values) == 1 else values


def given_value(source: str, plan: Plan, facts: Facts) -> Any:
    """What a source in ``params.inputs`` of a subflow means: a context key, else a node's output."""
    if source in facts.context:
        return facts.context[source]
    if isinstance(facts.run_input, Mapping) and source in facts.run_input:
        return facts.run_input[source]
    return _named(source, plan, facts)


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

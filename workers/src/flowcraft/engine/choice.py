"""Which outgoing edges a completed node takes, decided once and then recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from flowcraft.engine.inputs import Evaluator, Facts
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.node import NodeResult


def choose_edges(
    plan: Plan, key: str, result: NodeResult, facts: Facts, evaluator: Evaluator
) -> tuple[tuple[int, ...], dict[int, Any]]:
    """The edges taken, and the values of those with a transform.

    Edges whose action is the result's are tried first; if none of them holds, the edges without action;
    each only if its condition holds. Where a fallback gave the result, its own edges are among them.

    Raises:
        EvaluationError: a condition or transform cannot be evaluated; the node fails with it.
    """
    output, action = result.output, result.action
    node = plan.node(key)
    node_id, edges = node.id, [(position, plan.edges[position]) for position in node.outgoing]
    if plan.stand_in and not result.fallback_executed:
        edges = [(position, edge) for position, edge in edges if position not in plan.stand_in]
    if not edges:
        return (), {}
    scope: Mapping[str, Any] | None = None
    taken: list[int] = []
    for wanted in (action, None) if action is not None else (None,):
        for position, edge in edges:
            if edge.action != wanted:
                continue
            if edge.condition:
                scope = scope or _condition_scope(node_id, result, facts)
                if not evaluator.condition(edge.condition, scope):
                    continue
            taken.append(position)
        if taken:
            break
    values = {
        position: evaluator.transform(transform, _transform_scope(node_id, output, facts))
        for position in taken
        if (transform := plan.edges[position].transform)
    }
    return tuple(taken), values


def loop_result(
    key: str, condition: str | None, value: Any, facts: Facts, evaluator: Evaluator
) -> NodeResult:
    """What a ``loop-controller`` decides, and passes on of its input.

    Args:
        key: Its node key.
        condition: Its ``params.condition``; without one, the loop is over.
        value: Its input.
        facts: What the condition names.
        evaluator: Evaluates it.

    Raises:
        EvaluationError: the condition cannot be evaluated.
    """
    goes_on = condition is not None and evaluator.condition(
        condition, _condition_scope(NodeKey.parse(key).node, NodeResult(value), facts)
    )
    return NodeResult(value, "continue" if goes_on else "break")


def too_many_rounds(plan: Plan, key: str, taken: Collection[int]) -> str | None:
    """Why a node must not take these edges: its loop would go on for ever, as far as anybody can tell."""
    if not plan.loops:
        return None
    rounds = NodeKey.parse(key).rounds
    for position in taken:
        hop = plan.hops[position]
        if hop.back:
            loop = plan.loops[hop.target]
            if rounds[hop.shared - 1] >= loop.max_rounds:
                return (
                    f"the loop at {loop.head} has had {loop.max_rounds} rounds and would go on: it may be "
                    "without end (params.maxIterations of the node that turns it allows more)"
                )
    return None


def _condition_scope(node_id: str, result: NodeResult, facts: Facts) -> dict[str, Any]:
    given = {"output": result.output, "action": result.action}
    outputs = _outputs(node_id, result.output, facts)
    names = _names(outputs, facts)
    return {
        **names,
        "_outputs": outputs,
        "context": names,
        "result": given,
        "input": facts.run_input,
    }


def _transform_scope(node_id: str, output: Any, facts: Facts) -> dict[str, Any]:
    outputs = _outputs(node_id, output, facts)
    given = {"output": output}
    return {"_outputs": outputs, "context": _names(outputs, facts), "input": output, "result": given}


def _names(outputs: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """What a bare name may mean: a context key, else a node's output, else a field of the run's input."""
    run_input = facts.run_input if isinstance(facts.run_input, Mapping) else {}
    names = {**run_input, **outputs, **facts.context}
    for name in facts.deleted:
        names.pop(name, None)
    return names


def _outputs(node_id: str, output: Any, facts: Facts) -> dict[str, Any]:
    """Outputs by node, the one included whose edges are chosen."""
    return {**{key: record.output for key, record in facts.records.items()}, node_id: output}

"""Which edges a completed node takes."""

from __future__ import annotations

from typing import Any

import pytest

from flowcraft.blueprint import Blueprint
from flowcraft.engine.choice import choose_edges
from flowcraft.engine.inputs import Facts
from flowcraft.engine.plan import Plan
from flowcraft.errors import EvaluationError
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.node import NodeResult
from flowcraft.records import NodeRecord


def chosen(
    *edges: dict[str, Any],
    output: Any = None,
    action: str | None = None,
    context: dict[str, Any] | None = None,
    run_input: Any = None,
    records: dict[str, NodeRecord] | None = None,
) -> tuple[tuple[int, ...], dict[int, Any]]:
    """The edges that leave ``a`` and are taken, and their values; the targets are ``t0``, ``t1``, …"""
    drawn = [{"source": "a", "target": f"t{number}", **edge} for number, edge in enumerate(edges)]
    ids = ["a", *(edge["target"] for edge in drawn), *(records or {})]
    blueprint = {"id": "p", "nodes": [{"id": n, "uses": "code"} for n in ids], "edges": drawn}
    given = Facts(records or {}, context or {}, run_input)
    plan = Plan.of(Blueprint.from_dict(blueprint))
    return choose_edges(plan, "a", NodeResult(output, action), given, ExpressionEvaluator())


def taken(*edges: dict[str, Any], **result: Any) -> tuple[int, ...]:
    return chosen(*edges, **result)[0]


def test_a_terminal_node_takes_nothing() -> None:
    assert chosen() == ((), {})


def test_edges_without_action_and_condition_are_all_taken() -> None:
    assert taken({}, {}) == (0, 1)


def test_the_edges_of_the_results_action_are_taken_and_no_others() -> None:
    edges: tuple[dict[str, Any], ...] = ({"action": "yes"}, {"action": "no"}, {}, {"action": "yes"})
    assert taken(*edges, action="yes") == (0, 3)
    assert taken(*edges, action="no") == (1,)


def test_an_action_without_an_edge_of_its_own_takes_the_plain_edges() -> None:
    assert taken({"action": "yes"}, {}, action="maybe") == (1,)


def test_no_action_takes_only_plain_edges() -> None:
    assert taken({"action": "yes"}, {}) == (1,)
    assert taken({"action": "yes"}) == ()


def test_when_no_edge_of_the_action_holds_the_plain_edges_are_tried() -> None:
    edges: tuple[dict[str, Any], ...] = ({"action": "yes", "condition": "result.output > 5"}, {})
    assert taken(*edges, action="yes", output=9) == (0,)
    assert taken(*edges, action="yes", output=1) == (1,)


def test_conditions_are_independent_of_each_other() -> None:
    edges: list[dict[str, Any]] = [
        {"condition": "result.output > 1"},
        {"condition": "result.output > 5"},
        {},
    ]
    assert taken(*edges, output=9) == (0, 1, 2)
    assert taken(*edges, output=3) == (0, 2)
    assert taken(*edges, output=0) == (2,)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("result.output.paid == 0", True),
        ("result.output.paid", False),
        ("result.output.nothing", False),
        ("result.action == 'go'", True),
        ("amount > 10", True),
        ("key == 'context'", True),
        ("_outputs.b.x == 1", True),
        ("b.x == 1", True),
        ("a.paid == 0", True),
        ("_outputs.a.paid == 0", True),
        ("input.amount == 42", True),
    ],
)
def test_what_a_condition_sees(condition: str, holds: bool) -> None:
    positions = taken(
        {"condition": condition},
        output={"paid": 0},
        action="go",
        context={"key": "context"},
        run_input={"amount": 42, "key": "input"},
        records={"b": NodeRecord("b", "b", "completed", output={"x": 1})},
    )
    assert positions == ((0,) if holds else ())


def test_a_nodes_output_hides_a_field_of_the_runs_input_of_the_same_name() -> None:
    b = NodeRecord("b", "b", "completed", output="node")
    assert taken({"condition": "b == 'node'"}, run_input={"b": "input"}, records={"b": b}) == (0,)
    assert taken({"condition": "b == 'key'"}, context={"b": "key"}, records={"b": b}) == (0,)


def test_transforms_give_the_values_of_taken_edges_only() -> None:
    positions, values = chosen(
        {"transform": "input.a + 1"},
        {"condition": "false", "transform": "input.none.at.all + 1"},
        {"transform": "context.rate"},
        {"transform": "context.a.a"},
        {},
        output={"a": 1},
        context={"rate": 3},
    )
    assert positions == (0, 2, 3, 4)
    assert values == {0: 2, 2: 3, 3: 1}


def test_an_expression_that_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(EvaluationError):
        chosen({"condition": "result.output + 1 > 2"}, output="text")

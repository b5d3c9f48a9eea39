"""What a node reads and what its input is: the rules of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from flowcraft.blueprint import Blueprint
from flowcraft.engine.inputs import Facts, Needs, needs, node_input
from flowcraft.engine.plan import Plan
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.records import NodeRecord

RUN_INPUT = {"amount": 42, "who": {"name": "ada"}}


def plan_of(edges: str, **inputs: Any) -> Plan:
    """A plan of edges such as ``a>b``, and of nodes whose ``inputs`` are given."""
    pairs = [pair.split(">") for pair in edges.split()]
    ids = dict.fromkeys([*(node_id for pair in pairs for node_id in pair), *inputs])
    return Plan.of(
        Blueprint.from_dict(
            {
                "id": "p",
                "nodes": [{"id": n, "uses": "code", "inputs": inputs.get(n)} for n in ids],
                "edges": [{"source": source, "target": target} for source, target in pairs],
            }
        )
    )


def facts(
    records: Mapping[str, NodeRecord] | None = None,
    context: Mapping[str, Any] | None = None,
    run_input: Any = RUN_INPUT,
) -> Facts:
    return Facts(records or {}, context or {}, run_input)


def done(key: str, output: Any, *taken: int, **more: Any) -> NodeRecord:
    return NodeRecord(key, key, "completed", output=output, taken=taken, **more)


def test_a_start_node_gets_the_runs_input() -> None:
    assert node_input(plan_of("a>b"), "a", facts()) == RUN_INPUT


def test_one_taken_edge_gives_its_sources_output() -> None:
    plan = plan_of("a>c b>c")
    records = {"a": done("a", [1], 0), "b": done("b", [2])}
    assert node_input(plan, "c", facts(records)) == [1]


def test_a_taken_edge_with_a_transform_gives_its_value_null_included() -> None:
    plan = plan_of("a>b")
    assert node_input(plan, "b", facts({"a": done("a", 1, 0, values={0: "made"})})) == "made"
    assert node_input(plan, "b", facts({"a": done("a", 1, 0, values={0: None})})) is None


def test_several_taken_edges_give_an_object_by_source() -> None:
    plan = plan_of("a>d b>d c>d")
    records = {"a": done("a", 1, 0), "b": done("b", None, 1), "c": done("c", 3)}
    assert node_input(plan, "d", facts(records)) == {"a": 1, "b": None}


def test_an_input_that_is_a_node_is_its_output() -> None:
    plan = plan_of("a>b b>c", c="a")
    records = {"a": done("a", {"x": 1}, 0), "b": done("b", 2, 1)}
    assert node_input(plan, "c", facts(records)) == {"x": 1}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("amount", 42),
        ("who.name", "ada"),
        ("who.name.first", None),
        ("nobody", None),
        ("_outputs.a", {"x": [7]}),
        ("_outputs.a.x", [7]),
        ("a.x", [7]),
        ("a.y.z", None),
        ("key", "context"),
    ],
)
def test_a_source_is_a_node_a_context_key_or_a_field_of_the_runs_input(source: str, value: Any) -> None:
    plan = plan_of("a>b", b=source)
    given = facts({"a": done("a", {"x": [7]}, 0)}, {"key": "context"})
    assert node_input(plan, "b", given) == value


def test_a_context_key_hides_the_runs_input_of_that_name() -> None:
    assert node_input(plan_of("a>b", b="amount"), "b", facts(context={"amount": 7})) == 7
    assert node_input(plan_of("a>b", b="amount"), "b", facts(context={"amount": None})) is None


def test_sources_by_name_give_an_object() -> None:
    plan = plan_of("a>b", b={"paid": "a.paid", "limit": "amount", "none": "nowhere"})
    given = facts({"a": done("a", {"paid": True}, 0)})
    assert node_input(plan, "b", given) == {"paid": True, "limit": 42, "none": None}


def test_an_input_that_is_no_object_has_no_fields() -> None:
    assert node_input(plan_of("", a="amount"), "a", facts(run_input=[1, 2])) is None


# ---- what is loaded for it ----


def needs_of(plan: Plan, node_id: str) -> Needs:
    return needs(plan, node_id, ExpressionEvaluator())


def test_a_node_needs_the_records_of_its_predecessors() -> None:
    assert needs_of(plan_of("a>c b>c"), "c") == Needs(frozenset("ab"), frozenset())


def test_a_node_with_inputs_needs_its_predecessors_too_to_know_that_it_is_ready() -> None:
    assert needs_of(plan_of("a>b", b="amount"), "b") == Needs(frozenset("a"), frozenset({"amount"}))
    plan = plan_of("a>b b>c", c={"x": "a.x", "y": "key.z"})
    assert needs_of(plan, "c") == Needs(frozenset("ab"), frozenset({"key"}))


def test_a_node_needs_what_the_expressions_of_its_edges_name() -> None:
    plan = Plan.of(
        Blueprint.from_dict(
            {
                "id": "p",
                "nodes": [{"id": n, "uses": "code"} for n in "abc"],
                "edges": [
                    {"source": "a", "target": "b"},
                    {
                        "source": "b",
                        "target": "c",
                        "condition": "amount > 10 && _outputs.a.ok && result.output.ok",
                        "transform": "context.rate",
                    },
                ],
            }
        )
    )
    assert needs_of(plan, "b") == Needs(frozenset("a"), frozenset({"amount", "rate"}))

"""What the linter knows of names, fields and edges that no run can take; and where it finds them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flowcraft import App, NodeContext, lint
from flowcraft.blueprint import Blueprint
from flowcraft.linting.context_keys import keys_of, misspelt_keys
from flowcraft.linting.decisions import unknown_decision
from flowcraft.linting.finding import Finding, Paths


def order(
    nodes: Mapping[str, Any] | None = None, edges: list[dict[str, Any]] | None = None, **extra: Any
) -> Blueprint:
    """charge -> ship -> tell, with what is said of nodes and with other edges."""
    listed = [
        {"id": name, "uses": name, **(nodes or {}).get(name, {})} for name in ("charge", "ship", "tell")
    ]
    return Blueprint.from_dict(
        {
            "id": "order",
            "nodes": listed,
            "edges": edges or [{"source": "charge", "target": "ship"}, {"source": "ship", "target": "tell"}],
            **extra,
        }
    )


def edge(**fields: Any) -> Blueprint:
    first = {"source": "charge", "target": "ship", **fields}
    return order(edges=[first, {"source": "ship", "target": "tell"}])


@pytest.mark.parametrize(
    ("subject", "code", "path", "told"),
    [
        (
            edge(condition="_outputs.charg.paid > 0"),
            "UNKNOWN_OUTPUT",
            ("edges", 0, "condition"),
            "it reads the output of 'charg', but there is no such node; did you mean 'charge'?",
        ),
        (
            edge(condition="_outputs.tell.sent"),
            "OUTPUT_NOT_BEFORE",
            ("edges", 0, "condition"),
            "'tell' never runs before 'charge' ends, so it is null",
        ),
        (
            edge(condition="result.paid > 0"),
            "UNKNOWN_RESULT_FIELD",
            ("edges", 0, "condition"),
            "did you mean 'result.output.paid'?",
        ),
        (
            edge(condition="chargee.paid > 0"),
            "MISSPELT_NAME",
            ("edges", 0, "condition"),
            "did you mean 'charge'?",
        ),
        (
            edge(condition="context.totl > 0"),
            "MISSPELT_NAME",
            ("edges", 0, "condition"),
            "did you mean 'total'?",
        ),
        (
            edge(condition="output.paid > 0"),
            "UNKNOWN_NAME",
            ("edges", 0, "condition"),
            "'output' is no node and no context key that is known; did you mean 'result.output'?",
        ),
        (
            edge(transform="paid + 1"),
            "UNKNOWN_NAME",
            ("edges", 0, "transform"),
            "did you mean 'input.paid' or 'context.paid'?",
        ),
        (
            order({"ship": {"inputs": "_outputs.chargee"}}),
            "UNKNOWN_OUTPUT",
            ("nodes", 1, "inputs"),
            "did you mean 'charge'?",
        ),
        (
            order({"ship": {"inputs": {"a": "charge", "b": "tell.at"}}}),
            "OUTPUT_NOT_BEFORE",
            ("nodes", 1, "inputs", "b"),
            "inputs name 'tell', which never runs before it",
        ),
        (
            order(
                {"ship": {"config": {"fallback": "tell"}}, "tell": {"inputs": "charge"}},
                [{"source": "charge", "target": "ship"}],
            ),
            "OUTPUT_NOT_BEFORE",
            ("nodes", 2, "inputs"),
            "node tell: inputs of a fallback are not read: it gets those of the node that it stands in for",
        ),
        (
            order({"charge": {"inputs": "charge"}}),
            "OUTPUT_NOT_BEFORE",
            ("nodes", 0, "inputs"),
            "inputs name 'charge'",
        ),
        (
            order({"ship": {"inputs": {"sum": "totall"}}}),
            "MISSPELT_NAME",
            ("nodes", 1, "inputs", "sum"),
            "did you mean 'total'?",
        ),
        (
            order({"ship": {"config": {"retries": 3}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "config", "retries"),
            "did you mean 'maxRetries'?",
        ),
        (
            order({"ship": {"joinStrategy": "any"}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "joinStrategy"),
            "is read in `config` alone",
        ),
        (
            order({"ship": {"retries": 3}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "retries"),
            "nothing reads 'retries'; did you mean 'maxRetries', in `config`?",
        ),
        (
            order({"ship": {"param": {}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "param"),
            "nothing reads 'param'; did you mean 'params'?",
        ),
        (
            order({"ship": {"uses": "batch-gather", "params": {"outputkey": "sums"}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "params", "outputkey"),
            "node ship: params: nothing reads 'outputkey'; did you mean 'outputKey'?",
        ),
        (
            order({"ship": {"uses": "batch-scatter", "params": {"concurency": 3}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "params", "concurency"),
            "did you mean 'concurrency'?",
        ),
        (
            order({"ship": {"uses": "batch-scatter", "params": {"config": {"retries": 3}}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "params", "config", "retries"),
            "node ship: params.config: nothing reads 'retries'; did you mean 'maxRetries'?",
        ),
        (
            order({"ship": {"uses": "loop-controller", "params": {"max_iterations": 3}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "params", "max_iterations"),
            "did you mean 'maxIterations'?",
        ),
        (
            order({"ship": {"uses": "sleep", "params": {"duration": "1s", "durations": "1s"}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "params", "durations"),
            "did you mean 'duration'?",
        ),
        (
            order({"ship": {"uses": "subflow", "params": {"blueprintID": "stock", "mine": 1}}}),
            "MISSPELT_FIELD",
            ("nodes", 1, "params", "blueprintID"),
            "did you mean 'blueprintId'?",
        ),
        (edge(condtion="x"), "MISSPELT_FIELD", ("edges", 0, "condtion"), "did you mean 'condition'?"),
        (order(metdata={"version": "1"}), "MISSPELT_FIELD", ("metdata",), "did you mean 'metadata'?"),
        (
            edge(condition=" false "),
            "CONDITION_NEVER_HOLDS",
            ("edges", 0, "condition"),
            "its condition is false",
        ),
        (
            order(
                {"charge": {"uses": "sleep", "params": {"duration": "1s"}}},
                [{"source": "charge", "target": "ship", "action": "done"}],
            ),
            "IMPOSSIBLE_ACTION",
            ("edges", 0, "action"),
            "its action is 'done', and a sleep gives no action",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(
    subject: Blueprint, code: str, path: tuple[Any, ...], told: str
) -> None:
    found = [each for each in lint(subject, context_keys={"total"}) if each.code == code]
    assert [each.path for each in found] == [path]
    assert told in found[0].message
    assert found[0].severity == "warning"


def polished(condition: str) -> Blueprint:
    """charge, then a loop of ship and check that goes on while this holds, then tell."""
    controller = {"id": "check", "uses": "loop-controller", "params": {"condition": condition}}
    document = order(
        edges=[
            {"source": "charge", "target": "ship"},
            {"source": "ship", "target": "check"},
            {"source": "check", "target": "ship", "action": "continue"},
            {"source": "check", "target": "tell", "action": "break"},
        ]
    ).to_dict()
    return Blueprint.from_dict({**document, "nodes": [*document["nodes"], controller]})


@pytest.mark.parametrize(
    ("condition", "code", "character", "told"),
    [
        ("_outputs.shipp.score < 10", "UNKNOWN_OUTPUT", 1, "no such node; did you mean 'ship'?"),
        ("1 < 2 && _outputs.tell.sent", "OUTPUT_NOT_BEFORE", 10, "'tell' never runs before 'check' ends"),
        ("result.score < 10", "UNKNOWN_RESULT_FIELD", 1, "did you mean 'result.output.score'?"),
        ("shipp.score < 10", "MISSPELT_NAME", 1, "did you mean 'ship'?"),
    ],
)
def test_names_in_the_condition_of_a_loop_are_looked_at(
    condition: str, code: str, character: int, told: str
) -> None:
    (found,) = lint(polished(condition), context_keys={"total"})
    assert (found.code, found.severity, found.node) == (code, "warning", "check")
    assert (found.path, found.character) == (("nodes", 3, "params", "condition"), character)
    assert found.message.startswith("loop controller check: condition: ")
    assert told in found.message


@pytest.mark.parametrize(
    "condition", ["ship.score < 10", "_outputs.charge.paid", "result.output.score < 10", "check.x", "more"]
)
def test_what_may_be_right_in_the_condition_of_a_loop_is_not_told(condition: str) -> None:
    assert lint(polished(condition)) == []


def codes(subject: Blueprint) -> list[tuple[str, str | None]]:
    return [(each.code, each.node) for each in lint(subject)]


def test_what_stands_behind_an_edge_that_is_never_taken_is_told() -> None:
    subject = order(
        edges=[
            {"source": "charge", "target": "ship", "condition": "false"},
            {"source": "charge", "target": "tell", "condition": "null"},
            {"source": "ship", "target": "tell"},
        ]
    )
    assert codes(subject) == [
        ("CONDITION_NEVER_HOLDS", None),
        ("CONDITION_NEVER_HOLDS", None),
        ("UNREACHABLE_NODE", "ship"),
        ("JOIN_NEVER_READY", "tell"),
    ]


@pytest.mark.parametrize(
    "subject",
    [
        order({"ship": {"note": "mine", "_sourceLocation": {"line": 1}, "params": {"retries": 1}}}),
        order({"ship": {"inputs": {"a": "anything", "b": "charge.deep.er", "c": "_inputs.ship", "d": "_k"}}}),
        edge(condition="result.output.paid > 0 && has(customer.vip) && input.x == context.y"),
        edge(transform="input.items.map(item, item.price + context.tax)"),
        edge(condition="_outputs.charge.paid == result.output.paid"),
        edge(condition="approved"),
        order({"ship": {"uses": "wait", "params": {"durations": 1, "who": "ada"}}}),
        order({"ship": {"params": {"outputkey": "its own", "config": {"retries": 1}}}}),
        order(metadata={"version": "1", "owner": "ada"}),
    ],
)
def test_what_may_be_right_is_not_told(subject: Blueprint) -> None:
    assert lint(subject) == []


def test_a_finding_knows_its_character_and_a_node_its_place() -> None:
    (found,) = lint(edge(condition="true && _outputs.nobody.x"))
    assert found.character == 9
    paths = Paths(edge())
    assert paths.of(Finding("X", "", node="tell")) == ("nodes", 2)
    assert paths.of(Finding("X", "", edge=("ship", "tell"))) == ("edges", 1)
    assert paths.of(Finding("X", "")) == ()


def test_context_keys_are_read_out_of_the_code() -> None:
    app = App("shop")

    @app.node("charge")
    async def charge(ctx: NodeContext) -> None:
        await ctx.context.set("total", 1)
        await ctx.context.set(f"total-{ctx.run_id}", 1)

    @app.node("ship")
    def ship(ctx: NodeContext) -> None:
        ctx.context.blocking.get("totl")
        ctx.context.blocking.get("charge")
        ctx.context.blocking.get("customer")

    code = keys_of(app.registry.values())
    assert [(each.name, sorted(each.written)) for each in code] == [("charge", ["total"]), ("ship", [])]
    (found,) = misspelt_keys(code, {"charge"})
    assert found.code == "MISSPELT_CONTEXT_KEY"
    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if '"totl")' in text)
    assert f"{Path(__file__).name}:{line}: ship reads the context key 'totl'" in found.message


SUB = {"id": "sub", "uses": "subflow", "params": {"blueprintId": "c"}}


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("approve", None),
        ("approve#2", None),
        ("plan[review]", None),
        ("sub/review", None),
        ("sub#2/plan[a/b]", None),
        ("work/review", "blueprint b has no node 'work/review'; nodes that wait are approve"),
        ("aprove", "blueprint b has no node 'aprove'; did you mean 'approve'?"),
        ("nobody", "blueprint b has no node 'nobody'; nodes that wait are approve"),
        ("work", "node work of blueprint b does not wait for a decision; nodes that wait are approve"),
    ],
)
def test_a_decision_that_answers_no_node_is_told(key: str, told: str | None) -> None:
    subject = Blueprint.from_dict(
        {"id": "b", "nodes": [{"id": "work", "uses": "work"}, {"id": "approve", "uses": "wait"}, SUB]}
    )
    assert unknown_decision(subject, key) == told


def test_loops_within_too_many_loops_are_told() -> None:
    names = [f"n{place}" for place in range(120)]
    row = [{"source": one, "target": other} for one, other in pairwise(names)]
    back = [{"source": names[-1 - place], "target": names[1 + place]} for place in range(55)]
    subject = Blueprint.from_dict(
        {"id": "deep", "nodes": [{"id": name, "uses": "work"} for name in names], "edges": row + back}
    )
    assert "LOOPS_TOO_DEEP" in {each.code for each in lint(subject)}

"""A blueprint's mistakes are found before it runs, all of them at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from tests.unit.strategies import dag_blueprints, graph_blueprints

from flowcraft import lint, require_valid
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition
from flowcraft.errors import BlueprintError
from flowcraft.runtime import BlueprintCatalog


def blueprint(nodes: list[Any], edges: list[Any] | None = None, **metadata: Any) -> Blueprint:
    return Blueprint(
        "b",
        tuple(NodeDefinition(node, node) if isinstance(node, str) else node for node in nodes),
        tuple(EdgeDefinition(*edge) if isinstance(edge, tuple) else edge for edge in edges or []),
        metadata,
    )


def codes(subject: Blueprint, registry: Any = None, severity: str = "error") -> list[str]:
    return sorted(finding.code for finding in lint(subject, registry) if finding.severity == severity)


def conditional(condition: str | None = None, transform: str | None = None) -> Blueprint:
    return blueprint(["a", "b"], [EdgeDefinition("a", "b", condition=condition, transform=transform)])


def test_a_sound_blueprint_has_no_findings() -> None:
    sound = blueprint(["a", NodeDefinition("w", "wait"), "b"], [("a", "w"), ("w", "b", "approved")])
    assert lint(sound, {"a", "b"}) == []
    require_valid(sound, {"a", "b"})


def batch(**params: Any) -> Blueprint:
    """A batch behind a node ``a``, with these parameters."""
    given = {"workerUsesKey": "b", "gatherNodeId": "gather", **params}
    nodes = ["a", NodeDefinition("scatter", "batch-scatter", given), NodeDefinition("gather", "batch-gather")]
    return blueprint(nodes, [("a", "scatter"), ("scatter", "gather")])


def controlled(params: dict[str, Any]) -> Blueprint:
    """A loop whose controller has these parameters."""
    edges = [EdgeDefinition("a", "c"), EdgeDefinition("c", "a", action="continue")]
    edges += [EdgeDefinition("b", "a"), EdgeDefinition("c", "d", action="break")]
    nodes = [NodeDefinition(name, "a") for name in "abd"]
    return Blueprint("b", (*nodes, NodeDefinition("c", "loop-controller", params)), tuple(edges))


def subflow(**params: Any) -> NodeDefinition:
    return NodeDefinition("sub", "subflow", params)


def test_subflows_are_looked_up_where_the_blueprints_are_known() -> None:
    child = Blueprint("child", (NodeDefinition("c1", "a"),), (), {"version": "1"})
    catalog = BlueprintCatalog([child])

    def found(node: NodeDefinition) -> list[tuple[str, str]]:
        return [(each.code, each.message) for each in lint(blueprint([node]), blueprints=catalog)]

    known = subflow(blueprintId="child", blueprintVersion="1", outputs={"x": "_outputs.c1", "y": "key"})
    assert found(known) == []
    ((code, message),) = found(subflow(blueprintId="chidl"))
    assert (code, message) == (
        "INVALID_SUBFLOW_BLUEPRINT_ID",
        "node sub runs blueprint chidl, and there is none; did you mean 'child'?",
    )
    ((code, message),) = found(subflow(blueprintId="child", blueprintVersion="2"))
    assert message == "node sub runs blueprint child version 2, and there is none"
    ((code, message),) = found(subflow(blueprintId="child", outputs={"x": "_outputs.c2"}))
    assert code == "UNKNOWN_SUBFLOW_OUTPUT"


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (blueprint([]), ["NO_NODES"]),
        (blueprint(["a"], [("x", "a")]), ["INVALID_EDGE_SOURCE", "ORPHAN_NODE"]),
        (blueprint(["a"], [("a", "x")]), ["INVALID_EDGE_TARGET"]),
        (blueprint(["a", "a"]), ["DUPLICATE_NODE_ID"]),
        (blueprint(["unknown"]), ["MISSING_NODE_IMPLEMENTATION"]),
        (blueprint([NodeDefinition("a", "loop-controller")]), ["INVALID_LOOP", "INVALID_LOOP_CONDITION"]),
        (blueprint([NodeDefinition("a", "subflow")]), ["INVALID_SUBFLOW_BLUEPRINT_ID"]),
        (blueprint([subflow(blueprintId=7)]), ["INVALID_SUBFLOW_BLUEPRINT_ID"]),
        (blueprint([subflow(blueprintId="b", inputs=["a"])]), ["INVALID_SUBFLOW"]),
        (blueprint([subflow(blueprintId="b", outputs={"a": 1})]), ["INVALID_SUBFLOW"]),
        (blueprint([subflow(blueprintId="b", blueprintVersion=1)]), ["INVALID_SUBFLOW"]),
        (blueprint([subflow(blueprintId="b", inputs={"x": "y"}, outputs={"a": "b"})]), []),
        (
            blueprint([NodeDefinition("a", "batch-scatter")]),
            ["INVALID_BATCH_GATHER", "INVALID_BATCH_WORKER_KEY"],
        ),
        (batch(), []),
        (batch(workerUsesKey="unknown"), ["INVALID_BATCH_WORKER_KEY"]),
        (batch(workerUsesKey="sleep"), []),
        (batch(gatherNodeId="unknown"), ["INVALID_BATCH_GATHER"]),
        (batch(gatherNodeId="a"), ["INVALID_BATCH_GATHER"]),
        (batch(chunkSize=-1), ["INVALID_BATCH_SETTING"]),
        (batch(onError="ignore"), ["INVALID_BATCH_SETTING"]),
        (blueprint([NodeDefinition("a", "batch-gather")]), ["INVALID_BATCH_GATHER"]),
        (blueprint(["a", NodeDefinition("b", "batch-gather")], [("a", "b")]), []),
        (blueprint([NodeDefinition("a", "sleep")]), ["INVALID_SLEEP_DURATION"]),
        (blueprint([NodeDefinition("a", "sleep", {"duration": "soon"})]), ["INVALID_SLEEP_DURATION"]),
        (blueprint([NodeDefinition("a", "sleep", {"duration": 500})]), []),
        (blueprint(["a", "b"], [("a", "b"), ("b", "a")]), ["CYCLE_WITHOUT_ENTRY"]),
        (blueprint(["a", "b"], [("a", "b"), ("b", "a")], cycleEntryPoints=["b"]), []),
        (
            blueprint(["a", "b"], [("a", "b"), ("b", "a")], cycleEntryPoints=["a", "b"]),
            ["CYCLE_WITHOUT_ENTRY"],
        ),
        (blueprint(["a", "b"], [("a", "b"), ("b", "b")]), []),
        (
            blueprint(
                ["a", "b", "c", NodeDefinition("d", "a")], [("a", "b"), ("b", "c"), ("c", "b"), ("d", "c")]
            ),
            ["CYCLE_WITH_SEVERAL_ENTRIES"],
        ),
        (
            blueprint(
                ["a", "b", "c", NodeDefinition("d", "a")],
                [("a", "b"), ("b", "c"), ("c", "b"), ("d", "c")],
                cycleEntryPoints=["c"],
            ),
            [],
        ),
        (controlled({}), ["INVALID_LOOP_CONDITION"]),
        (controlled({"condition": "more ==="}), ["INVALID_LOOP_CONDITION"]),
        (controlled({"condition": "more"}), []),
        (controlled({"condition": "more", "maxIterations": 0}), ["INVALID_LOOP"]),
        (blueprint([NodeDefinition("a#1", "a")]), ["AMBIGUOUS_NODE_ID"]),
        (blueprint([NodeDefinition("a[1]", "a")]), ["AMBIGUOUS_NODE_ID"]),
        (
            blueprint(["a", "b", "c"], [("a", "b"), ("b", "a"), ("b", "c")]),
            ["CYCLE_WITHOUT_ENTRY"],
        ),
        (blueprint([NodeDefinition("a", "a", config=NodeConfig(fallback="x"))]), ["UNKNOWN_FALLBACK"]),
        (blueprint([NodeDefinition("a", "a", config=NodeConfig(fallback="b"))]), []),
        (
            blueprint(
                [NodeDefinition("a", "a", config=NodeConfig(fallback="w")), NodeDefinition("w", "wait")]
            ),
            ["INVALID_FALLBACK"],
        ),
        (
            blueprint(
                [
                    NodeDefinition("a", "a", config=NodeConfig(fallback="b")),
                    NodeDefinition("b", "b", config=NodeConfig(fallback="a")),
                    "c",
                ],
                [("c", "a"), ("a", "b")],
            ),
            ["FALLBACK_CYCLE", "FALLBACK_CYCLE"],
        ),
        (
            blueprint([NodeDefinition("a", "a", config=NodeConfig(fallback="b")), "b", "c"], [("b", "c")]),
            [],
        ),
        (
            blueprint(
                [
                    NodeDefinition("a", "a", config=NodeConfig(fallback="b")),
                    NodeDefinition("c", "c", config=NodeConfig(fallback="b")),
                    "b",
                    NodeDefinition("d", "a"),
                ],
                [("b", "d")],
            ),
            ["FALLBACK_WITH_EDGES"],
        ),
        (
            blueprint(
                [
                    NodeDefinition("a", "a", config=NodeConfig(fallback="b")),
                    NodeDefinition("b", "b", config=NodeConfig(fallback="c")),
                    "c",
                    NodeDefinition("d", "a"),
                ],
                [("a", "d"), ("c", "d")],
            ),
            ["FALLBACK_WITH_EDGES"],
        ),
        (conditional("result.output.x === 1"), ["INVALID_CONDITION"]),
        (conditional("result.output ="), ["INVALID_CONDITION"]),
        (conditional("now() > 1"), ["INVALID_CONDITION"]),
        (conditional("_outputs[result.action] == 1"), ["INVALID_CONDITION"]),
        (conditional(transform="context[input]"), ["INVALID_TRANSFORM"]),
        (conditional('_outputs["a"].x == 1', 'context["a-b"]'), []),
    ],
)
def test_each_mistake_has_its_code(subject: Blueprint, expected: list[str]) -> None:
    assert codes(subject, {"a", "b", "c"}) == expected


def test_a_chain_of_fallbacks_and_a_doubled_edge_are_warnings() -> None:
    chain = [
        NodeDefinition("a", "a", config=NodeConfig(fallback="b")),
        NodeDefinition("b", "b", config=NodeConfig(fallback="c")),
    ]
    subject = blueprint([*chain, "c", "d"], [("a", "d"), ("a", "d")])
    assert codes(subject) == []
    assert codes(subject, severity="warning") == ["DUPLICATE_EDGE", "FALLBACK_CHAIN"]
    require_valid(subject)


def test_a_javascript_comparison_is_told_how_it_is_spelled_here() -> None:
    (finding,) = lint(conditional("result.output.paid !== 0"))
    assert finding.edge == ("a", "b")
    assert "`!==` is written `!=` here" in finding.message


def test_without_a_registry_implementations_are_not_looked_for() -> None:
    assert codes(blueprint(["anything"])) == []


def test_require_valid_tells_every_mistake_in_one_error() -> None:
    with pytest.raises(BlueprintError) as refused:
        require_valid(blueprint(["a", "x"], [("a", "nowhere"), ("nobody", "a")]), {"a"})
    for told in (
        "blueprint b cannot run",
        "INVALID_EDGE_TARGET",
        "INVALID_EDGE_SOURCE",
        "add @app.node('x')",
    ):
        assert told in str(refused.value)


def test_require_valid_does_not_tell_a_thousand_mistakes() -> None:
    with pytest.raises(BlueprintError, match="and 980 more"):
        require_valid(blueprint([f"n{i}" for i in range(1000)]), set())


@given(dag_blueprints(plain=True))
def test_plain_dags_are_sound(subject: Blueprint) -> None:
    assert codes(subject, {node.uses for node in subject.nodes}) == []


@given(graph_blueprints())
def test_whatever_the_graph_it_is_looked_at(subject: Blueprint) -> None:
    for finding in lint(subject, {"code"}):
        assert finding.message


def test_ten_thousand_nodes_are_linted_in_linear_time() -> None:
    ids = [f"n{i}" for i in range(10_000)]
    subject = blueprint(ids, list(pairwise(ids)))
    assert lint(subject, set(ids)) == []


def test_a_loop_without_a_way_out_is_a_warning() -> None:
    endless = blueprint(["a", "b"], [("a", "b"), ("b", "b")])
    assert [(found.code, found.node, found.severity) for found in lint(endless)] == [
        ("LOOP_WITHOUT_EXIT", "b", "warning")
    ]
    assert lint(controlled({"condition": "more"})) == []

"""The graph for user interfaces: a batch is one node, a loop one edge that goes back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from tests.unit.strategies import graph_blueprints

from flowcraft.blueprint import Blueprint
from flowcraft.ui_graph import to_graph_representation

BATCH = [
    {"id": "resize_scatter", "uses": "batch-scatter", "inputs": "list",
     "params": {"workerUsesKey": "resize", "outputKey": "sizes", "gatherNodeId": "resize_gather"}},
    {"id": "resize_gather", "uses": "batch-gather", "params": {"outputKey": "sizes"}},
]  # fmt: skip
LOOP = {"id": "again", "uses": "loop-controller", "params": {"condition": "score < 9"}}


def graph(nodes: list[Any], edges: list[Any]) -> Any:
    listed = [{"id": node, "uses": node} if isinstance(node, str) else node for node in nodes]
    drawn = [dict(zip(("source", "target", "action"), edge, strict=False)) for edge in edges]
    return to_graph_representation(Blueprint.from_dict({"id": "b", "nodes": listed, "edges": drawn}))


def ends(edges: Any) -> list[tuple[Any, ...]]:
    return [(edge["source"], edge["target"], edge.get("action")) for edge in edges]


def test_a_batch_is_one_node() -> None:
    found = graph(
        ["list", *BATCH, "zip"],
        [("list", "resize_scatter"), ("resize_scatter", "resize_gather"), ("resize_gather", "zip")],
    )
    assert [node["id"] for node in found["nodes"]] == ["list", "resize", "zip"]
    assert found["nodes"][1] == {
        "id": "resize",
        "uses": "resize",
        "type": "batch-worker",
        "data": {
            "label": "Batch: resize",
            "isBatchPlaceholder": True,
            "workerUsesKey": "resize",
            "inputKey": "list",
            "outputKey": "sizes",
        },
    }
    assert ends(found["edges"]) == [("list", "resize", None), ("resize", "zip", None)]


def test_a_loop_is_an_edge_that_goes_back() -> None:
    found = graph(
        ["begin", "draft", "check", LOOP, "publish"],
        [
            ("begin", "draft"),
            ("draft", "check"),
            ("check", "again"),
            ("again", "draft", "continue"),
            ("again", "publish", "break"),
        ],
    )
    assert [node["id"] for node in found["nodes"]] == ["begin", "draft", "check", "publish"]
    assert ends(found["edges"]) == [
        ("begin", "draft", None),
        ("draft", "check", None),
        ("check", "draft", None),
        ("check", "publish", "break"),
    ]
    assert found["edges"][2]["data"] == {
        "isLoopback": True,
        "condition": "score < 9",
        "label": "continue if: score < 9",
    }


def test_a_loop_that_is_entered_at_its_controller_is_entered_at_its_first_node() -> None:
    found = graph(
        ["begin", "work", LOOP],
        [("work", "again"), ("begin", "again"), ("again", "work", "continue")],
    )
    assert ends(found["edges"]) == [("begin", "work", None), ("work", "work", None)]


def test_a_batch_at_the_end_of_a_loop_is_where_it_goes_back_from() -> None:
    found = graph(
        [*BATCH, LOOP, "done"],
        [
            ("resize_scatter", "resize_gather"),
            ("resize_gather", "again"),
            ("again", "resize_scatter", "continue"),
            ("again", "done", "break"),
        ],
    )
    assert [node["id"] for node in found["nodes"]] == ["resize", "done"]
    assert ends(found["edges"]) == [("resize", "resize", None), ("resize", "done", "break")]


@given(graph_blueprints())
def test_what_has_neither_is_drawn_as_it_is(blueprint: Blueprint) -> None:
    found = to_graph_representation(blueprint)
    assert [node["id"] for node in found["nodes"]] == [node.id for node in blueprint.nodes]
    assert {(edge["source"], edge["target"]) for edge in found["edges"]} == {
        (edge.source, edge.target) for edge in blueprint.edges
    }

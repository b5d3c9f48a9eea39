"""The builder's verbs for batches, loops, subflows and webhooks write the original's JSON."""

from __future__ import annotations

from typing import Any

import pytest

from flowcraft import App, BlueprintError, NodeContext, lint


@pytest.fixture
def app() -> App:
    app = App("a")

    @app.node("resize", retries=2)
    async def resize(ctx: NodeContext) -> Any:
        return ctx.input

    app.node("list")(resize)
    return app


def edges(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(edge.get(name) for name in ("source", "target", "action")) for edge in document["edges"]]


def test_a_batch_is_two_nodes_and_takes_the_edges_of_its_name(app: App) -> None:
    flow = app.flow("f").node("list")
    flow.batch("sizes", "resize", inputs="list", concurrency=4, on_error="skip", config={"retries": 1})
    document = flow.node("zip").edge("list", "sizes").edge("sizes", "zip").to_blueprint().to_dict()
    scatter, gather = document["nodes"][1:3]
    assert scatter == {
        "id": "sizes_scatter",
        "uses": "batch-scatter",
        "inputs": "list",
        "params": {
            "workerUsesKey": "resize",
            "outputKey": "sizes",
            "gatherNodeId": "sizes_gather",
            "concurrency": 4,
            "onError": "skip",
            "config": {"maxRetries": 2},
        },
    }
    assert gather["params"] == {"outputKey": "sizes", "gatherNodeId": "sizes_gather"}
    assert edges(document) == [
        ("sizes_scatter", "sizes_gather", None),
        ("list", "sizes_scatter", None),
        ("sizes_gather", "zip", None),
    ]


def test_a_batch_in_the_originals_words_gives_the_originals_json(app: App) -> None:
    """What ``createFlow('f').batch('sizes', resize, {inputKey, outputKey, chunkSize})`` gives there."""
    flow = app.flow("f").batch("sizes", "resize", input_key="list", output_key="all", chunk_size=10)
    assert flow.to_blueprint().to_dict() == {
        "id": "f",
        "nodes": [
            {
                "id": "sizes_scatter",
                "uses": "batch-scatter",
                "inputs": "list",
                "params": {
                    "workerUsesKey": "resize",
                    "outputKey": "all",
                    "gatherNodeId": "sizes_gather",
                    "chunkSize": 10,
                },
            },
            {
                "id": "sizes_gather",
                "uses": "batch-gather",
                "params": {"outputKey": "all", "gatherNodeId": "sizes_gather"},
            },
        ],
        "edges": [{"source": "sizes_scatter", "target": "sizes_gather"}],
    }


def test_a_batch_takes_the_function_itself(app: App) -> None:
    code = app.registry["resize"].code
    flow = app.flow("f").batch("sizes", code)
    assert flow.to_blueprint().node("sizes_scatter").params["workerUsesKey"] in {"resize", "list"}
    with pytest.raises(BlueprintError, match="is no node of the app; decorate it"):
        flow.batch("others", print)


def test_a_loop_is_a_controller_with_an_edge_back_and_exits(app: App) -> None:
    flow = app.flow("f").node("begin").node("draft").node("check").node("publish").node("log")
    flow.loop("again", start="draft", end="check", condition="check.score < 9", max_iterations=5)
    flow.edge("begin", "draft").edge("draft", "check").edge("again", "publish")
    flow.edge("again", "log", transform="input.score")
    document = flow.to_blueprint().to_dict()
    assert document["nodes"][-1] == {
        "id": "again",
        "uses": "loop-controller",
        "params": {"condition": "check.score < 9", "maxIterations": 5},
        "config": {"joinStrategy": "any"},
    }
    assert edges(document) == [
        ("check", "again", None),
        ("again", "draft", "continue"),
        ("begin", "draft", None),
        ("draft", "check", None),
        ("again", "publish", "break"),
        ("again", "log", "break"),
    ]
    transforms = [edge.get("transform") for edge in document["edges"] if edge["source"] == "again"]
    assert transforms == ['context["check"]', 'context["check"]', "input.score"]


def test_a_flow_may_begin_with_a_loop(app: App) -> None:
    flow = app.flow("f").node("draft").node("check").edge("draft", "check")
    flow.loop("again", start="draft", end="check", condition="more").node("list").edge("again", "list")
    flow.loop("twice", start="list", end="list", condition="more")
    blueprint = flow.to_blueprint()
    assert blueprint.metadata == {"cycleEntryPoints": ["draft"]}
    assert [each.code for each in lint(blueprint) if each.severity == "error"] == []
    assert flow.set_cycle_entry_point("check").to_blueprint().metadata == {"cycleEntryPoints": ["check"]}


def test_a_loop_that_is_led_into_needs_no_entry_point(app: App) -> None:
    flow = app.flow("f").node("begin").node("draft").edge("begin", "draft")
    flow.loop("again", start="draft", end="draft", condition="more")
    assert flow.to_blueprint().metadata == {}


def test_where_a_flow_begins_with_a_loop_within_a_loop_has_to_be_said(app: App) -> None:
    flow = app.flow("f").node("a").node("b")
    flow.loop("inner", start="b", end="b", condition="more").edge("a", "b")
    flow.loop("outer", start="a", end="inner", condition="more")
    assert flow.to_blueprint().metadata == {}
    assert "CYCLE_WITHOUT_ENTRY" in {each.code for each in lint(flow.to_blueprint())}


def test_a_loop_may_end_with_a_batch(app: App) -> None:
    flow = app.flow("f").node("list").batch("sizes", "resize", inputs="list")
    flow.edge("list", "sizes").loop("again", start="list", end="sizes", condition="false").node("zip")
    flow.edge("again", "zip")
    document = flow.to_blueprint().to_dict()
    assert ("sizes_gather", "again", None) in edges(document)
    assert document["edges"][-1]["transform"] == 'context["sizes_gather"]'


def test_a_subflow_a_webhook_and_an_entry_point(app: App) -> None:
    flow = app.flow("f", version="2").webhook("paid", params={"by": "bank"})
    flow.subflow("ship", "shipping", version="1", inputs={"order": "paid"}, config={"retries": 1})
    document = flow.edge("paid", "ship").set_cycle_entry_point("paid").to_blueprint().to_dict()
    assert document["nodes"] == [
        {"id": "paid", "uses": "webhook", "params": {"by": "bank"}},
        {
            "id": "ship",
            "uses": "subflow",
            "params": {"blueprintId": "shipping", "blueprintVersion": "1", "inputs": {"order": "paid"}},
            "config": {"maxRetries": 2},
        },
    ]
    assert document["metadata"] == {"version": "2", "cycleEntryPoints": ["paid"]}

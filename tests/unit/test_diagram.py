"""Diagrams of blueprints and runs."""

from __future__ import annotations

import re

from hypothesis import given
from tests.unit.strategies import graph_blueprints

from flowcraft import App
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition
from flowcraft.diagram import mermaid


def test_a_blueprint_is_drawn() -> None:
    flow = (
        App("a")
        .flow("f")
        .node("charge", uses="pay")
        .wait("approve")
        .node("ship", fallback="refund")
        .node("refund")
    )
    flow.edge("charge", "approve", action="big", condition="result.output > 10").edge("approve", "ship")
    assert mermaid(flow.to_blueprint()).splitlines() == [
        "flowchart TD",
        '    n0["charge<br/>pay"]',
        '    n1{{"approve<br/>wait"}}',
        '    n2(["ship"])',
        '    n3["refund"]',
        '    n0 -->|"big · result.output &gt; 10"| n1',
        "    n1 --> n2",
        "    n2 -. fallback .-> n3",
    ]


def test_a_run_shows_what_became_of_each_node() -> None:
    flow = App("a").flow("f").node("a").node("b").node("c").edge("a", "b").edge("a", "c")
    drawn = mermaid(
        flow.to_blueprint(), statuses={"a": "completed", "b": "skipped", "gone": "failed"}, taken=[1]
    )
    assert "    linkStyle 1 stroke" in drawn
    assert "linkStyle 0" not in drawn
    assert "    class n0 completed" in drawn
    assert "    class n1 skipped" in drawn
    assert "failed" not in drawn


def test_text_cannot_break_out_of_its_label() -> None:
    node = NodeDefinition('x"]; click n0 "javascript:alert(1)', "y<script>`#")
    drawn = mermaid(Blueprint("b", (node,), (EdgeDefinition(node.id, node.id, condition='"|\n'),)))
    for line in drawn.splitlines()[1:]:
        assert re.fullmatch(r'    n0(\["[^"<>`]*(<br/>)?[^"<>`]*"\]| -->\|"[^"<>]*"\| n0)', line), line


@given(graph_blueprints())
def test_whatever_the_graph_it_is_drawn(blueprint: Blueprint) -> None:
    assert mermaid(blueprint).count("-->") <= len(blueprint.edges)


def test_a_fallback_that_is_an_implementation_is_not_drawn() -> None:
    node = NodeDefinition("a", "a", config=NodeConfig(fallback="code"))
    assert "fallback" not in mermaid(Blueprint("b", (node,)))

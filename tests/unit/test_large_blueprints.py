"""Blueprints of many nodes: looked at in time that grows with their size, or refused at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from flowcraft import Blueprint, BlueprintError, EdgeDefinition, NodeDefinition, analyze_blueprint, lint
from flowcraft.sources import read_documents

HUGE = 100_000
LARGE = 20_000


def cpu_s(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def row(size: int, *, wrong: bool) -> Blueprint:
    """So many nodes in a row; in the wrong one every edge and every condition has a mistake."""
    nodes = tuple(NodeDefinition(f"node-{place}", "work") for place in range(size))
    name = "nobody" if wrong else "node"
    told = "_outputs.nodee.x" if wrong else "result.output.count > 0"
    edges = [
        EdgeDefinition(f"{name}-{place}", f"node-{place + 1}", condition=told if place % 3 else None)
        for place in range(size - 1)
    ]
    return Blueprint("huge", nodes, tuple(edges))


@pytest.mark.parametrize(("size", "wrong"), [(HUGE, False), (LARGE, True)])
def test_so_many_nodes_are_analysed_and_linted_in_bounded_time(size: int, wrong: bool) -> None:
    blueprint = row(size, wrong=wrong)
    parse_s = cpu_s(lambda: json.loads(blueprint.to_json()))

    def look() -> None:
        assert analyze_blueprint(blueprint).node_count == size
        assert bool(lint(blueprint, {"work"})) is wrong

    assert cpu_s(look) < max(20.0 * parse_s, 5.0)


def test_a_file_of_a_hundred_thousand_nodes_is_refused_in_one_sentence() -> None:
    nodes = [{"id": f"n{place}", "uses": "work"} for place in range(HUGE)]
    text = json.dumps({"id": "huge", "nodes": nodes}).encode()

    def read() -> None:
        with pytest.raises(BlueprintError, match="100000 nodes are more than 20000; split it into several"):
            Blueprint.from_dict(read_documents(text)[0].value)

    assert cpu_s(read) < 5.0

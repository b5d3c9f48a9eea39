"""Batches and made nodes mean the same here and in the original, but for what is told at the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.parity.batches import batch_differences, batch_programs
from tests.parity.modes import Modes
from tests.parity.outcome import Outcome, of_upstream
from tests.parity.programs import Program
from tests.parity.test_random_programs import random_programs
from tests.parity.upstream import Upstream


@given(program=batch_programs())
@random_programs(120)
def test_in_memory_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert list(batch_differences(program, modes.in_memory(program), theirs)) == []


@given(program=batch_programs())
@random_programs(40)
def test_on_the_embedded_backend_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert list(batch_differences(program, modes.embedded(program, workers=2), theirs)) == []


# ---- where we differ on purpose; the names are those of docs/parity.md ----


@pytest.fixture(params=["in memory", "embedded"])
def both(request: pytest.FixtureRequest, upstream: Upstream, modes: Modes) -> Any:
    """Runs a blueprint here, in one of our modes, and there."""

    def run(nodes: list[dict[str, Any]], *edges: Any) -> tuple[Outcome, Outcome]:
        drawn = [pair if isinstance(pair, dict) else edge(*pair) for pair in edges]
        program = Program(
            {"id": "p", "nodes": nodes, "edges": drawn}, {}, tuple(node["id"] for node in nodes)
        )
        theirs = of_upstream(upstream.run(program.blueprint, program.input))
        ours = modes.in_memory(program) if request.param == "in memory" else modes.embedded(program)
        return ours, theirs

    return run


def edge(source: str, target: str, **more: str) -> dict[str, Any]:
    return {"source": source, "target": target, **more}


def act(node_id: str, value: Any = None, **more: Any) -> dict[str, Any]:
    params = {"node": node_id, "output": {"value": value}, **more}
    return {"id": node_id, "uses": "act", "params": params, "config": {}}


def batch(items: Any, **params: Any) -> tuple[list[dict[str, Any]], tuple[str, str], tuple[str, str]]:
    scatter = {"workerUsesKey": "item", "outputKey": "k2", "gatherNodeId": "n2", **params}
    nodes = [
        act("n0", items),
        {"id": "n1", "uses": "batch-scatter", "inputs": "n0", "params": scatter, "config": {}},
        {
            "id": "n2",
            "uses": "batch-gather",
            "params": {"outputKey": "k2", "gatherNodeId": "n2"},
            "config": {},
        },
    ]
    return nodes, ("n0", "n1"), ("n1", "n2")


def items(*values: Any) -> list[dict[str, Any]]:
    return [{"item": f"i{place}", "gives": "value", "value": value} for place, value in enumerate(values)]


def test_batch_chunks(both: Any) -> None:
    ours, theirs = both(*batch(items(1, 2, 3), chunkSize=2))
    assert (theirs.status, theirs.keys.get("k2")) == ("failed", None)  # nobody can take the second chunk
    assert (ours.status, ours.keys["k2"]) == ("completed", [1, 2, 3])


@pytest.mark.parametrize("value", [0, "", False])
def test_batch_over_nothing(both: Any, value: Any) -> None:
    ours, theirs = both(*batch(value))
    assert (theirs.status, theirs.keys["k2"]) == ("completed", [])
    assert (ours.status, ours.failed) == ("failed", ("n1",))


def test_batch_keeps_places(both: Any) -> None:
    first, second, last = items(1, 2, 3)
    del second["value"]
    ours, theirs = both(*batch([first, {**second, "gives": "nothing"}, last]))
    assert theirs.keys["k2"] == [1, 3]
    assert ours.keys["k2"] == [1, None, 3]


def test_batch_children(both: Any) -> None:
    ours, theirs = both(*batch(items(1, 2)))
    assert {key for key in ours.records if "[" in key} <= {"n1[0]", "n1[1]"}
    assert len([name for name in theirs.outputs if name.startswith("item_")]) == 2  # with a random part
    assert {"n1_currentIndex", "n2_hasMore", "n2_allWorkerIds"} <= theirs.keys.keys()
    assert ours.keys.keys() == {"k2"}


def test_made_nodes_first(both: Any) -> None:
    made = [{"id": "slow", "uses": "act", "params": {"node": "slow", "output": {"value": 1}, "takes": 20}}]
    ours, theirs = both([act("n0", {"ok": 1}, makes=made), act("n1")], ("n0", "n1"))
    assert list(theirs.calls) == ["n0", "n1", "slow"]
    assert list(ours.calls) == ["n0", "slow", "n1"]
    assert ours.calls["n1"] == theirs.calls["n1"] == [{"ok": 1}]


def test_what_a_made_node_gave_is_named_by_its_id(both: Any) -> None:
    made = [act("m0", {"n": 1}), act("m1", {"ok": False}) | {"inputs": "n0"}]
    gather = {"gatherNodeId": "n1"}
    nodes = [
        act("n0", gather, makes=made),
        act("n1", output="reads", reads=["m0", "_outputs.m0", "m1"]),
        act("n2", output="input") | {"inputs": {"all": "m0", "out": "_outputs.m1"}},
        act("n3", output="input"),
        act("n4"),
    ]
    edges = [edge("n0", "n1"), edge("n1", "n2"), edge("n1", "n3", transform="context.m0"),
             edge("n1", "n4", condition="m1.ok")]  # fmt: skip
    ours, theirs = both(nodes, *edges)
    read = {"m0": {"n": 1}, "_outputs.m0": {"n": 1}, "m1": {"ok": False}}
    assert ours.outputs["n1"] == theirs.outputs["n1"] == read
    assert ours.calls["n2"] == theirs.calls["n2"] == [{"all": {"n": 1}, "out": {"ok": False}}]
    assert ours.calls["n3"] == theirs.calls["n3"] == [{"n": 1}]
    assert ours.calls.keys() == theirs.calls.keys()

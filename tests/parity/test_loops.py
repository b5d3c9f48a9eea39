"""Loops mean the same here and in the original, but for what is told at the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.parity.loops import ANY, loop_differences, loop_programs
from tests.parity.modes import Modes
from tests.parity.outcome import Outcome, of_upstream
from tests.parity.programs import Program
from tests.parity.test_random_programs import random_programs
from tests.parity.upstream import Upstream

from flowcraft.errors import BlueprintError


@given(program=loop_programs())
@random_programs(120)
def test_in_memory_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert list(loop_differences(program, modes.in_memory(program), theirs)) == []


@given(program=loop_programs())
@random_programs(30)
def test_on_the_embedded_backend_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert list(loop_differences(program, modes.embedded(program, workers=2), theirs)) == []


# ---- where we differ on purpose; the names are those of docs/parity.md ----


@pytest.fixture(params=["in memory", "embedded"])
def both(request: pytest.FixtureRequest, upstream: Upstream, modes: Modes) -> Any:
    """Runs a blueprint here, in one of our modes, and there."""

    def run(nodes: list[dict[str, Any]], *edges: dict[str, Any], **metadata: Any) -> tuple[Outcome, Outcome]:
        blueprint = {"id": "p", "nodes": nodes, "edges": list(edges), "metadata": metadata}
        program = Program(blueprint, {}, tuple(node["id"] for node in nodes))
        theirs = of_upstream(upstream.run(program.blueprint, program.input))
        ours = modes.in_memory(program) if request.param == "in memory" else modes.embedded(program)
        return ours, theirs

    return run


def act(node_id: str, **more: Any) -> dict[str, Any]:
    """A node that gives its own id; with ``any_join`` as the first node of upstream's loops."""
    config = ANY if more.pop("any_join", False) else {}
    params = {"node": node_id, "output": {"value": node_id}, **more}
    return {"id": node_id, "uses": "act", "params": params, "config": config}


def edge(source: str, target: str, **more: str) -> dict[str, Any]:
    return {"source": source, "target": target, **more}


CONTROLLER = {"id": "n2", "uses": "loop-controller", "params": {"condition": "k1"}, "config": ANY}
LOOP = (
    edge("n0", "n1"),
    edge("n1", "n2"),
    edge("n2", "n1", action="continue"),
    edge("n2", "n3", action="break"),
)
TURNS = {"turns": {"key": "k1", "times": 2}}


def test_loop_first_node(both: Any) -> None:
    ours, theirs = both([act("n0"), act("n1", **TURNS), CONTROLLER, act("n3")], *LOOP)
    assert theirs.calls.keys() == {"n0"}  # the first node waits for the controller, which waits for it
    assert [len(ours.calls[node]) for node in ("n0", "n1", "n3")] == [1, 2, 1]


def test_loop_controller_output(both: Any) -> None:
    nodes = [act("n0"), act("n1", any_join=True, **TURNS), CONTROLLER, act("n3", output="input")]
    ours, theirs = both(nodes, *LOOP)
    assert theirs.calls["n1"] == ["n0", None]
    assert theirs.calls["n3"] == [None]
    assert ours.calls["n1"] == ["n0", "n1"]
    assert ours.calls["n3"] == ["n1"]


def test_the_context_has_the_outputs_of_the_latest_round(both: Any) -> None:
    reading = act("n1", any_join=True, output="reads", reads=["n0", "n1", "_outputs.n1"], **TURNS)
    last = act("n3", output="reads", reads=["n0", "_outputs.n1"])
    ours, theirs = both([act("n0"), reading, CONTROLLER, last], *LOOP)
    first = {"n0": "n0", "n1": None, "_outputs.n1": None}
    assert ours.outputs["n1#1"] == first
    assert ours.outputs["n1#2"] == theirs.outputs["n1"] == {"n0": "n0", "n1": first, "_outputs.n1": first}
    assert ours.outputs["n3"] == theirs.outputs["n3"] == {"n0": "n0", "_outputs.n1": theirs.outputs["n1"]}


def test_loop_records(both: Any) -> None:
    nodes = [act("n0"), act("n1", any_join=True, **TURNS), CONTROLLER, act("n3")]
    ours, theirs = both(nodes, *LOOP)
    assert theirs.outputs.keys() == {"n0", "n1", "n2", "n3"}  # the last round's
    assert ours.outputs.keys() == {"n0", "n1#1", "n2#1", "n1#2", "n2#2", "n3"}


def test_any_join_once_a_round(both: Any) -> None:
    """In a loop, too, an any-join runs once: for the first edge that is taken in a round."""
    nodes = [act("n0"), act("n1", any_join=True, **TURNS), CONTROLLER, act("n3")]
    nodes += [act("n4"), act("n5", any_join=True)]
    extra = [edge("n1", "n4"), edge("n1", "n5"), edge("n4", "n5"), edge("n5", "n2")]
    ours, theirs = both(nodes, LOOP[0], *LOOP[2:], *extra)
    assert len(ours.calls["n5"]) == len(ours.calls["n1"]) == 2
    assert theirs.status == "thrown"  # each edge runs it again, and with it the loop: without end


def test_loop_behind_loop(both: Any) -> None:
    """An outer loop of n1 to n9 with an inner one at n2, and a join of n5 and n6 behind that."""
    nodes = [act("n0"), act("n1", any_join=True), act("n2", any_join=True)]
    nodes += [{"id": "n3", "uses": "loop-controller", "params": {"condition": "never"}, "config": ANY}]
    nodes += [act("n4", any_join=True), act("n5", any_join=True), act("n6", any_join=True), act("n7")]
    nodes += [act("n8", any_join=True, turns={"key": "k8", "times": 2})]
    nodes += [{"id": "n9", "uses": "loop-controller", "params": {"condition": "k8"}, "config": ANY}]
    pairs = ["n0 n1", "n1 n2", "n2 n3", "n4 n5", "n4 n6", "n5 n7", "n6 n7", "n7 n8", "n8 n9"]
    edges = [edge(*pair.split()) for pair in pairs]
    edges += [edge("n3", "n2", action="continue"), edge("n3", "n4", action="break")]
    edges += [edge("n9", "n1", action="continue"), edge("n9", "n10", action="break")]
    ours, theirs = both([*nodes, act("n10")], *edges)
    assert [len(theirs.calls.get(node, ())) for node in ("n1", "n4", "n7", "n10")] == [2, 2, 1, 0]
    assert [len(ours.calls[node]) for node in ("n1", "n4", "n7", "n10")] == [2, 2, 2, 1]


def test_cycle_entry(upstream: Upstream, modes: Modes) -> None:
    nodes, edges = [act("n0", **TURNS), act("n1")], [edge("n0", "n1"), edge("n1", "n0", condition="k0")]
    blueprint = {"id": "p", "nodes": nodes, "edges": edges}
    theirs = of_upstream(upstream.run(blueprint, {}))
    assert theirs.calls.keys() == {"n0", "n1"}  # it begins where it likes
    with pytest.raises(BlueprintError, match="CYCLE_WITHOUT_ENTRY"):
        modes.in_memory(Program(blueprint, {}, ("n0", "n1")))
    chosen = Program({**blueprint, "metadata": {"cycleEntryPoints": ["n0"]}}, {}, ("n0", "n1"))
    assert modes.in_memory(chosen).calls.keys() == {"n0", "n1"}

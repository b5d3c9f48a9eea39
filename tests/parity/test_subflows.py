"""Subflows mean the same here and in the original, but for what is told at the end."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from tests.parity.modes import Modes
from tests.parity.outcome import Outcome, of_upstream
from tests.parity.programs import Program
from tests.parity.subflows import subflow_differences, subflow_programs
from tests.parity.test_random_programs import random_programs
from tests.parity.upstream import Upstream


def _there(upstream: Upstream, program: Program) -> Outcome:
    result = upstream.run(program.blueprint, program.input, program.subflows)
    return of_upstream(result)


@given(program=subflow_programs())
@random_programs(120)
def test_in_memory_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    differences = subflow_differences(program, modes.in_memory(program), _there(upstream, program))
    assert list(differences) == []


@given(program=subflow_programs())
@random_programs(40)
def test_on_the_embedded_backend_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    ours = modes.embedded(program, workers=2)
    assert list(subflow_differences(program, ours, _there(upstream, program))) == []


# ---- where we differ on purpose; the names are those of docs/parity.md ----


@pytest.fixture(params=["in memory", "embedded"])
def both(request: pytest.FixtureRequest, upstream: Upstream, modes: Modes) -> Any:
    """Runs ``n0 -> n1 -> n2`` here, in one of our modes, and there; ``n1`` is a subflow of these nodes."""

    def run(nodes: list[dict[str, Any]], *edges: dict[str, str], **params: Any) -> tuple[Outcome, Outcome]:
        told = json.dumps([nodes, edges], sort_keys=True).encode()
        child = {"id": hashlib.sha256(told).hexdigest(), "nodes": nodes, "edges": list(edges)}
        node = {"id": "n1", "uses": "subflow", "params": {"blueprintId": child["id"], **params}, "config": {}}
        program = Program(
            {"id": "p", "nodes": [act("n0", {"value": 1}), node, act("n2")],
             "edges": [edge("n0", "n1"), edge("n1", "n2")]},
            {}, ("n0", "n1", "n2"), (child,),
        )  # fmt: skip
        ours = modes.in_memory(program) if request.param == "in memory" else modes.embedded(program)
        return ours, _there(upstream, program)

    return run


def act(node_id: str, output: Any = "input", **params: Any) -> dict[str, Any]:
    said = {"node": node_id, "output": output, **params}
    return {"id": node_id, "uses": "act", "params": said, "config": {}}


def edge(source: str, target: str, **more: str) -> dict[str, str]:
    return {"source": source, "target": target, **more}


def test_subflow_output(both: Any) -> None:
    ours, theirs = both([act("a0"), act("a1")], edge("a0", "a1"), outputs={"k1": "a1"})
    assert (ours.keys["k1"], theirs.keys["k1"]) == (1, 1)
    assert theirs.outputs["n1"].items() >= {"a0": 1, "a1": 1, "_outputs.a1": 1}.items()  # all its context
    assert ours.outputs["n1"] == 1


def test_subflow_ends(both: Any) -> None:
    edges = [edge("a0", "a1", action="yes"), edge("a0", "a2", action="no")]
    ours, theirs = both([act("a0", action="yes"), act("a1"), act("a2")], *edges)
    assert theirs.outputs["n1"] == {"a1": 1, "a2": None}
    assert ours.outputs["n1"] == {"a1": 1}


def test_subflow_waits(both: Any) -> None:
    wait = {"id": "w", "uses": "wait", "params": {}, "config": {}}
    ours, theirs = both([wait, act("a1")], edge("w", "a1"))
    assert (theirs.status, "a1" in theirs.calls) == ("awaiting", False)
    assert (ours.status, ours.calls["a1"], ours.outputs["n1"]) == ("completed", [{"ok": True}], {"ok": True})


def test_subflow_of_a_blueprint_that_there_is_not(both: Any) -> None:
    ours, theirs = both([{"id": "a0", "uses": "subflow", "params": {"blueprintId": "nobody"}, "config": {}}])
    assert ours.status == theirs.status == "failed"
    assert ours.failed == ("n1",)


@pytest.mark.parametrize("mode", ["in memory", "embedded"])
def test_what_a_subflow_is_given_by_a_nodes_name_is_its_output(
    upstream: Upstream, modes: Modes, mode: str
) -> None:
    child = {"id": "by-name", "nodes": [act("a0", "reads", reads=["x", "y"])], "edges": []}
    params = {"blueprintId": "by-name", "inputs": {"x": "n0", "y": "field"}}
    node = {"id": "n1", "uses": "subflow", "params": params, "config": {}}
    blueprint = {"id": "p", "nodes": [act("n0", {"value": 1}), node], "edges": [edge("n0", "n1")]}
    program = Program(blueprint, {"n0": "of the input", "field": 2}, ("n0", "n1"), (child,))
    ours = modes.in_memory(program) if mode == "in memory" else modes.embedded(program)
    assert ours.outputs["n1"] == _there(upstream, program).outputs["n1"] == {"x": 1, "y": 2}

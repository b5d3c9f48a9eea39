"""Random programs with subflows, and what must be the same of them here and in the original."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from tests.parity.outcome import Outcome, same
from tests.parity.programs import VALUES, Program


@st.composite
def subflow_programs(draw: st.DrawFn) -> Program:
    """A node, a subflow behind it, a node behind that, perhaps once more; a subflow may have one in it.

    ``n0 -> n1 -> n2 -> n4 -> n5``, where ``n1`` and ``n4`` are subflows; their nodes are ``a…`` and ``b…``.
    """
    nodes = [_act("n0", {"value": draw(st.sampled_from(VALUES))})]
    edges, subflows = [], []
    for sub, behind, letter in draw(
        st.sampled_from([[("n1", "n2", "a")], [("n1", "n2", "a"), ("n4", "n5", "b")]])
    ):
        before = nodes[-1]["id"]
        mapped = draw(st.booleans())
        family = draw(_blueprint(letter, mapped=mapped, deep=draw(st.integers(0, 3)) == 0))
        params: dict[str, Any] = {"blueprintId": family[0]["id"]}
        if mapped:
            params["inputs"] = {"x": draw(st.sampled_from(["n0", "_outputs.n0", "i0", "nowhere"])), "y": "i0"}
        if draw(st.booleans()):
            source = st.sampled_from([f"{letter}0", f"{letter}1", f"k{letter}0", "x", "nowhere"])
            params["outputs"] = {f"k{sub[1:]}": draw(source), f"k{behind[1:]}": draw(source)}
        node: dict[str, Any] = {"id": sub, "uses": "subflow", "params": params, "config": {}}
        last = _act(behind, "input")
        if "outputs" in params:
            last["inputs"] = draw(st.sampled_from([f"k{sub[1:]}", f"k{behind[1:]}"]))
        nodes += [node, last]
        edges += [{"source": before, "target": sub}, {"source": sub, "target": behind}]
        subflows += family
    order = tuple(node["id"] for node in nodes)
    given = {"i0": draw(st.sampled_from(VALUES))}
    blueprint = {"id": "parent", "nodes": draw(st.permutations(nodes)), "edges": edges}
    return Program(blueprint, given, order, tuple(subflows))


def _act(node_id: str, output: Any, **params: Any) -> dict[str, Any]:
    said = {"node": node_id, "output": output, **params}
    return {"id": node_id, "uses": "act", "params": said, "config": {}}


@st.composite
def _blueprint(draw: st.DrawFn, letter: str, *, mapped: bool, deep: bool = False) -> list[dict[str, Any]]:
    """A blueprint of one to three nodes, or of two with a subflow in it; and those that it runs."""
    nodes = [draw(_node(f"{letter}0"))]
    if mapped:
        nodes[0]["inputs"] = draw(st.sampled_from(["x", "y", {"both": "x", "y": "y"}]))
    edges, inner = [], []
    if deep:
        inner = draw(_blueprint(f"{letter}d", mapped=False))
        params = {"blueprintId": inner[0]["id"]}
        nodes.append({"id": f"{letter}1", "uses": "subflow", "params": params, "config": {}})
        edges.append({"source": f"{letter}0", "target": f"{letter}1"})
    else:
        for number in range(1, draw(st.integers(1, 3))):
            nodes.append(draw(_node(f"{letter}{number}")))
            edges.append({"source": f"{letter}0", "target": f"{letter}{number}"})
    blueprint = {"nodes": nodes, "edges": edges}
    told = json.dumps(blueprint, sort_keys=True).encode()
    return [{"id": f"{letter}-{hashlib.sha256(told).hexdigest()[:16]}", **blueprint}, *inner]


@st.composite
def _node(draw: st.DrawFn, node_id: str) -> dict[str, Any]:
    output = draw(st.sampled_from(["input", "input", {"value": draw(st.sampled_from(VALUES))}]))
    params: dict[str, Any] = {}
    if draw(st.integers(0, 1)) == 0:
        params["set"] = {f"k{node_id}": draw(st.sampled_from(VALUES))}
    if draw(st.integers(0, 12)) == 0:
        params["fails"] = 1
    return _act(node_id, output, **params)


def subflow_differences(program: Program, ours: Outcome, theirs: Outcome) -> Iterator[str]:
    """Everything that is not the same; what a failure stopped here is not looked at (`fail-fast`)."""
    if ours.status != theirs.status:
        yield f"the run is {ours.status} here, {theirs.status} there"
    for name in sorted((ours.calls.keys() | theirs.calls.keys()) - {"n0"}):  # `start-input`
        here, there = ours.calls.get(name), theirs.calls.get(name)
        if not same(here, there) and (ours.status == "completed" or here is not None):
            yield f"{name} was called with {here!r} here, {there!r} there"
    if ours.status != "completed":
        return
    maps = {node["id"] for node in program.blueprint["nodes"] if "outputs" in node["params"]}
    for node_id in program.order:
        if node_id not in maps and not same(ours.outputs.get(node_id), theirs.outputs.get(node_id)):
            yield f"{node_id} gave {ours.outputs.get(node_id)!r} here, {theirs.outputs.get(node_id)!r} there"
    for key in ("k1", "k2", "k4", "k5"):
        if not same(ours.keys.get(key), theirs.keys.get(key)):
            yield f"context key {key} is {ours.keys.get(key)!r} here, {theirs.keys.get(key)!r} there"

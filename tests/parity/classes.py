"""Random class nodes, and what must be the same of them here and in the original."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from tests.parity.outcome import Outcome, same
from tests.parity.programs import VALUES, Program

PHASES = ("prep", "exec", "post", "fallback", "recover")


@st.composite
def class_programs(draw: st.DrawFn) -> Program:
    """Two class nodes in a row, with what each of their phases does, and a node behind each of them."""
    nodes: list[dict[str, Any]] = [_act("n0", {"value": draw(st.sampled_from(VALUES))})]
    for node_id in ("n1", "n3"):
        nodes.append(draw(_phases(node_id)))
        nodes.append(_act(f"n{int(node_id[1:]) + 1}", "input"))
    edges: list[dict[str, Any]] = [{"source": f"n{place}", "target": f"n{place + 1}"} for place in range(4)]
    for edge in (edges[1], edges[3]):
        if draw(st.integers(0, 2)) == 0:
            edge["condition"] = draw(st.sampled_from(["result.action", "result.output", "kprep", "kexec"]))
    blueprint = {"id": "classes", "nodes": nodes, "edges": edges}
    return Program(blueprint, {"i0": draw(st.sampled_from(VALUES))}, tuple(node["id"] for node in nodes))


def _act(node_id: str, output: Any) -> dict[str, Any]:
    return {"id": node_id, "uses": "act", "params": {"node": node_id, "output": output}, "config": {}}


@st.composite
def _phases(draw: st.DrawFn, node_id: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    attempts = draw(st.sampled_from([None, 1, 2, 3]))
    if attempts is not None:
        config["maxRetries"] = attempts
    params: dict[str, Any] = {"node": node_id, "action": draw(st.sampled_from([None, "yes", "no"]))}
    for phase in PHASES:
        if said := draw(_phase(phase, attempts or 1)):
            params[phase] = said
    return {"id": node_id, "uses": "phases", "params": params, "config": config}


@st.composite
def _phase(draw: st.DrawFn, phase: str, attempts: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    often = 2 if phase == "exec" else 6
    if draw(st.integers(0, often)) == 0:
        said["fails"] = attempts + draw(st.integers(-1, 1)) if phase == "exec" else 1
        if phase == "exec" and draw(st.integers(0, 5)) == 0:
            said["fatal"] = True
    if phase != "recover" and draw(st.integers(0, 3)) == 0:
        said["gives"] = {"value": draw(st.sampled_from(VALUES))}
    if phase != "recover" and draw(st.integers(0, 4)) == 0:
        said["set"] = {f"k{phase}": draw(st.sampled_from(VALUES))}
    return said


def class_differences(program: Program, ours: Outcome, theirs: Outcome) -> Iterator[str]:
    """Everything that is not the same.

    A class whose own fallback stood in does not recover here (`recovered-though-it-stood-in`), and what a
    node that fails has written is in the context there (`failed-attempt-writes`).
    """
    if ours.status != theirs.status:
        yield f"the run is {ours.status} here, {theirs.status} there"
    for name in sorted((ours.calls.keys() | theirs.calls.keys()) - {"n0"}):  # `start-input`
        here, there = ours.calls.get(name, []), theirs.calls.get(name, [])
        if name.endswith(".recover") and name.partition(".")[0] in ours.outputs and not here:
            continue
        if not same(here, there):
            yield f"{name} was called with {here} here, {there} there"
    for node_id in program.order:
        if not same(ours.outputs.get(node_id), theirs.outputs.get(node_id)):
            yield f"{node_id} gave {ours.outputs.get(node_id)!r} here, {theirs.outputs.get(node_id)!r} there"
    if ours.status == "completed" and not same(ours.keys, theirs.keys):
        yield f"the context is {ours.keys} here, {theirs.keys} there"

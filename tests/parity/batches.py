"""Random programs with batches, and what must be the same of them here and in the original."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from tests.parity.outcome import Outcome, same
from tests.parity.programs import VALUES, Program


@st.composite
def batch_programs(draw: st.DrawFn) -> Program:
    """A list of items, one or two batches over it, nodes behind and beside them.

    Every item says what becomes of it; see ``item`` in ``behaviour.py``.
    """
    items = [draw(_item(place)) for place in range(draw(st.integers(0, 5)))]
    nodes: list[dict[str, Any]] = [_act("n0", {"value": items})]
    edges: list[dict[str, Any]] = []
    before = "n0"
    for number in range(draw(st.sampled_from([1, 1, 2]))):
        scatter, gather = f"n{3 * number + 1}", f"n{3 * number + 2}"
        nodes += draw(_batch(scatter, gather, before, len(items)))
        edges += [{"source": before, "target": scatter}, {"source": scatter, "target": gather}]
        nodes.append(_act(f"n{3 * number + 3}", "input"))
        edges.append(draw(_leaving(gather, f"n{3 * number + 3}")))
        before = gather
    if draw(st.booleans()):
        nodes.append(_act("n8", "input"))
        edges.append({"source": "n0", "target": "n8"})
    if draw(st.booleans()):
        nodes.append(_act("n9", "input") | {"inputs": "k2"})
        edges.append({"source": "n2", "target": "n9"})
    order = tuple(node["id"] for node in nodes)
    return Program({"id": "batches", "nodes": draw(st.permutations(nodes)), "edges": edges}, {}, order)


def _act(node_id: str, output: Any) -> dict[str, Any]:
    return {"id": node_id, "uses": "act", "params": {"node": node_id, "output": output}, "config": {}}


@st.composite
def _batch(draw: st.DrawFn, scatter: str, gather: str, before: str, count: int) -> list[dict[str, Any]]:
    params: dict[str, Any] = {"workerUsesKey": "item", "outputKey": f"k{gather[1:]}", "gatherNodeId": gather}
    if draw(st.booleans()):
        params["chunkSize"] = max(count, 1) + draw(st.integers(0, 2))
    first: dict[str, Any] = {"id": scatter, "uses": "batch-scatter", "params": params, "config": {}}
    if before != "n0" or draw(st.booleans()):
        first["inputs"] = "n0"
    last = {"outputKey": f"k{gather[1:]}", "gatherNodeId": gather}
    return [
        first,
        {"id": gather, "uses": "batch-gather", "params": last, "config": {"joinStrategy": "all"}},
    ]


@st.composite
def _item(draw: st.DrawFn, place: int) -> dict[str, Any]:
    item: dict[str, Any] = {"item": f"i{place}", "value": draw(st.sampled_from(VALUES))}
    item["gives"] = draw(st.sampled_from(["input", "input", "value"]))
    if draw(st.integers(0, 15)) == 0:
        item["fails"] = True
    if draw(st.integers(0, 3)) == 0:
        item["set"] = {f"ki{place}": draw(st.sampled_from(VALUES))}
    return item


@st.composite
def _leaving(draw: st.DrawFn, gather: str, target: str) -> dict[str, Any]:
    edge: dict[str, Any] = {"source": gather, "target": target}
    if draw(st.integers(0, 3)) == 0:
        edge["condition"] = draw(st.sampled_from(["result.output.length", "result.output.0", "missing"]))
    if draw(st.integers(0, 3)) == 0:
        edge["transform"] = draw(st.sampled_from(["input.0", "input.length", f"context.k{gather[1:]}"]))
    return edge


def batch_differences(program: Program, ours: Outcome, theirs: Outcome) -> Iterator[str]:
    """Everything that is not the same; what a failure stopped here is not looked at (`fail-fast`)."""
    if ours.status != theirs.status:
        yield f"the run is {ours.status} here, {theirs.status} there"
    if ours.status != "completed":
        return
    for name in sorted((ours.calls.keys() | theirs.calls.keys()) - {"n0"}):  # `start-input`
        here, there = _counted(ours.calls.get(name, [])), _counted(theirs.calls.get(name, []))
        if here != there:
            yield f"{name} was called with {sorted(here)} here, {sorted(there)} there"
    for node_id in program.order:
        if not same(ours.outputs.get(node_id), theirs.outputs.get(node_id)):
            yield f"{node_id} gave {ours.outputs.get(node_id)!r} here, {theirs.outputs.get(node_id)!r} there"
    for key in ("k2", "k5"):
        if not same(ours.keys.get(key), theirs.keys.get(key)):
            yield f"context key {key} is {ours.keys.get(key)!r} here, {theirs.keys.get(key)!r} there"


def _counted(inputs: list[Any]) -> Counter[str]:
    return Counter(map(repr, inputs))

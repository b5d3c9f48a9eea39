"""Random programs that wait and sleep, and what must be the same of them here and in the original."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from tests.parity.outcome import Outcome, same
from tests.parity.programs import VALUES, Program, own_key


@st.composite
def waiting_programs(draw: st.DrawFn) -> Program:
    """DAGs of plain edges in which some nodes wait, or one sleeps.

    They are those that the original can resume (rules of waits): something is behind each wait, no join is
    directly behind one, nothing else waits while one sleeps, and every node gives something.
    """
    count = draw(st.integers(3, 8))
    sleeps = draw(st.booleans())
    nodes = [_act("n0", {"value": draw(st.sampled_from(VALUES))})]
    edges: list[dict[str, Any]] = []
    pausing: set[str] = set()
    before: dict[str, set[str]] = {"n0": set()}
    for place in range(1, count):
        node_id, left = f"n{place}", count - place
        bare = sorted(pausing - {edge["source"] for edge in edges})
        free = [node["id"] for node in nodes if node["id"] not in pausing]
        pauses = left > len(bare) + 1 and not (sleeps and pausing) and draw(st.integers(0, 2)) == 0
        if bare and (left <= len(bare) or draw(st.booleans())):
            sources = bare[:1]
        else:
            most = 1 if pauses else 3
            sources = draw(st.lists(st.sampled_from(free), min_size=1, max_size=most, unique=True))
        before[node_id] = set(sources).union(*(before[source] for source in sources))
        edges += [draw(_edge(source, node_id, sorted(before[source]))) for source in sources]
        if pauses:
            pausing.add(node_id)
            nodes.append(_pause(node_id, draw(st.sampled_from([1, 3])) if sleeps else None))
        else:
            nodes.append(draw(_working(node_id, sorted(before[node_id]))))
    order = tuple(node["id"] for node in nodes)
    return Program({"id": "waiting", "nodes": draw(st.permutations(nodes)), "edges": edges}, {"i0": 1}, order)


def _act(node_id: str, output: Any) -> dict[str, Any]:
    return {"id": node_id, "uses": "act", "params": {"node": node_id, "output": output}, "config": {}}


def _pause(node_id: str, sleep_ms: int | None) -> dict[str, Any]:
    uses, params = ("wait", {}) if sleep_ms is None else ("sleep", {"duration": sleep_ms})
    return {"id": node_id, "uses": uses, "params": params, "config": {}}


@st.composite
def _edge(draw: st.DrawFn, source: str, target: str, readable: list[str]) -> dict[str, Any]:
    edge = {"source": source, "target": target}
    if draw(st.integers(0, 5)) == 0:
        edge["transform"] = draw(
            st.sampled_from(["input", "context.i0", *(f"context.{n}" for n in readable)])
        )
    return edge


@st.composite
def _working(draw: st.DrawFn, node_id: str, known: list[str]) -> dict[str, Any]:
    node = _act(node_id, draw(st.sampled_from([{"value": value} for value in VALUES] + ["reads"] * 20)))
    names = [*known, *(f"_outputs.{name}" for name in known), *map(own_key, known), "i0"]
    if node["params"]["output"] == "reads":
        node["params"]["reads"] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    if draw(st.integers(0, 3)) == 0:
        node["params"]["set"] = {own_key(node_id): draw(st.sampled_from(VALUES))}
    if draw(st.integers(0, 5)) == 0:
        node["params"]["fails"], node["config"]["maxRetries"] = 1, 2
    return node


def waiting_differences(program: Program, ours: Outcome, theirs: Outcome) -> Iterator[str]:
    """Everything that is not the same; at a join what it gets is not looked at (`join-input`)."""
    if ours.status != theirs.status:
        yield f"the run is {ours.status} here, {theirs.status} there"
    entering = Counter(edge["target"] for edge in program.blueprint["edges"])
    for node_id in program.order:
        here, there = ours.calls.get(node_id, []), theirs.calls.get(node_id, [])
        told = entering[node_id] == 1
        if len(here) != len(there) or (told and not same(here, there)):
            yield f"{node_id} was called with {here} here, {there} there"
        if not same(ours.outputs.get(node_id), theirs.outputs.get(node_id)):
            yield f"{node_id} gave {ours.outputs.get(node_id)!r} here, {theirs.outputs.get(node_id)!r} there"
    if not same(ours.keys, theirs.keys):
        yield f"the context is {ours.keys} here, {theirs.keys} there"

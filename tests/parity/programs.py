"""Random programs: blueprints with what their nodes do, and the input of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

VALUES: list[Any] = [
    None, True, False, 0, 1, 7, "", "a", [], [1, "b"],
    {}, {"ok": True}, {"ok": False, "n": 3}, {"ok": {"n": 0}},
]  # fmt: skip
FIELDS = ["", "", "", ".ok", ".ok", ".n", ".ok.n", ".missing", ".length", ".1"]
INPUT_KEYS = ["i0", "i1"]
FAILS = [0] * 24 + [1, 1, 2, 3]


@dataclass(frozen=True)
class Program:
    """A blueprint in the original's JSON, its nodes ordered so that every edge goes forward, and an input.

    ``subflows`` are the blueprints that its nodes may run.
    """

    blueprint: Mapping[str, Any]
    input: Mapping[str, Any]
    order: tuple[str, ...]
    subflows: tuple[Mapping[str, Any], ...] = ()


@st.composite
def programs(draw: st.DrawFn, *, max_nodes: int = 8, waits: bool = False) -> Program:
    """DAGs with actions, conditions, transforms, joins, inputs, retries, fallbacks, failures, context keys.

    Some fields of the input are called like a key that a node sets, or deletes. Nodes read only what is
    resolved in every interleaving before they run: what lies before them on all ways.
    With ``waits``, some nodes wait for a decision and some sleep for a moment.
    """
    count = draw(st.sampled_from([1, 2, *range(3, max_nodes + 1), *range(3, max_nodes + 1)]))
    ids = [f"n{number}" for number in range(count)]
    before: dict[str, list[str]] = {}
    joins = {node_id: draw(st.sampled_from(["all", "all", "any"])) for node_id in ids}
    edges: list[dict[str, Any]] = []
    nodes: list[dict[str, Any]] = []
    spare: list[dict[str, Any]] = []
    known: dict[str, list[str]] = {}
    behaviours: dict[str, dict[str, Any]] = {}
    for place, node_id in enumerate(ids):
        most = min(place, 3)
        fewest = 1 if draw(st.integers(0, 5)) else 0
        sources = (
            draw(st.lists(st.sampled_from(ids[:place]), min_size=fewest, max_size=most)) if place else []
        )
        before[node_id] = sorted(set(sources))
        known[node_id] = _surely_before(before[node_id], known, joins[node_id])
        for source in sources:
            edges.append(
                draw(_edge(source, node_id, [*known[source], source], "set" in behaviours.get(source, {})))
            )
        nodes.append(draw(_node(node_id, joins[node_id], known[node_id], spare, waits)))
        behaviours[node_id] = nodes[-1]["params"]
    blueprint = {
        "id": "random",
        "nodes": draw(st.permutations([*nodes, *spare])),
        "edges": draw(st.permutations(edges)),
    }
    hidden = draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))
    run_input = {key: draw(st.sampled_from(VALUES)) for key in (*INPUT_KEYS, *map(own_key, hidden))}
    return Program(blueprint, run_input, tuple(ids))


def _surely_before(sources: list[str], known: Mapping[str, list[str]], join: str) -> list[str]:
    """The nodes that are resolved whenever a node with these predecessors may run."""
    if not sources:
        return []
    ways = [{source, *known[source]} for source in sources]
    return sorted(set.union(*ways) if join == "all" else set.intersection(*ways))


def own_key(node_id: str) -> str:
    """The context key that only this node writes: ``k3`` of ``n3``, ``kf3`` of its fallback ``f3``."""
    return "k" + node_id.removeprefix("n")


@st.composite
def _edge(draw: st.DrawFn, source: str, target: str, readable: list[str], sets: bool) -> dict[str, Any]:
    edge: dict[str, Any] = {"source": source, "target": target}
    kind = draw(st.integers(0, 11))
    if kind in (0, 1, 2, 3):
        edge["action"] = draw(st.sampled_from(["yes", "yes", "no"]))
    if kind in (3, 4, 5, 6):
        own = ["result.output"] * 3 + ["result.action", source] + [own_key(source)] * 2 * sets
        edge["condition"] = draw(_path([*own, *readable, *_keys(readable)]))
    if kind in (6, 7, 8):
        names = ["input", *(f"context.{name}" for name in (*readable, *_keys(readable)))]
        edge["transform"] = draw(_path(names))
    return edge


def _keys(node_ids: list[str]) -> list[str]:
    """Context keys that are there once these nodes are resolved, or are not there at all."""
    return [*map(own_key, node_ids), *INPUT_KEYS, "nowhere"]


@st.composite
def _path(draw: st.DrawFn, names: list[str]) -> str:
    return draw(st.sampled_from(names)) + draw(st.sampled_from(FIELDS))


@st.composite
def _node(
    draw: st.DrawFn, node_id: str, join: str, known: list[str], spare: list[dict[str, Any]], waits: bool
) -> dict[str, Any]:
    config: dict[str, Any] = {} if join == "all" else {"joinStrategy": join}
    node: dict[str, Any] = {"id": node_id, "uses": "act", "config": config}
    if waits and (kind := draw(st.sampled_from(["act"] * 6 + ["wait", "sleep"]))) != "act":
        params = {} if kind == "wait" else {"duration": draw(st.sampled_from(["1ms", "30ms"]))}
        return {**node, "uses": kind, "params": params}
    node["params"] = draw(_behaviour(node_id, known))
    if draw(st.integers(0, 4)) == 0 or (not known and draw(st.booleans())):
        node["inputs"] = draw(_inputs(known))
    attempts = draw(st.sampled_from([None, None, 1, 2, 3]))
    if attempts is not None:
        config["maxRetries"] = attempts
    if draw(st.integers(0, 5)) == 0:
        node["params"]["fails"] = (attempts or 1) + draw(st.integers(-1, 1))
        if draw(st.integers(0, 5)) == 0:
            node["params"]["fatal"] = True
        if not spare or draw(st.integers(0, 7)):
            fallback_id = f"f{node_id[1:]}"
            spare.append({"id": fallback_id, "uses": "act", "params": draw(_behaviour(fallback_id, known))})
        config["fallback"] = spare[-1]["id"]
    return node


@st.composite
def _behaviour(draw: st.DrawFn, node_id: str, known: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {"node": node_id}
    fails = draw(st.sampled_from(FAILS))
    gives = [{"value": value} for value in VALUES] + ["input"] * 8 + ["reads"] * 3
    params["output"] = draw(st.sampled_from(gives))
    if params["output"] == "reads":
        names = st.sampled_from(_sources(known))
        params["reads"] = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    if action := draw(st.sampled_from([None, None, "yes", "yes", "no", "other", ""])):
        params["action"] = action
    if fails:
        params["fails"] = fails
    if draw(st.integers(0, 79)) == 79:
        params["fatal"] = True
    if draw(st.integers(0, 3)) == 0:
        params["set"] = {own_key(node_id): draw(st.sampled_from(VALUES))}
    if draw(st.integers(0, 7)) == 0:
        params["delete"] = [own_key(node_id)]
    return params


def _sources(known: list[str]) -> list[str]:
    """Outputs of these nodes, and context keys."""
    return [*known, *(f"_outputs.{name}" for name in known), *_keys(known)]


def _inputs(known: list[str]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(_sources(known))
    return names | st.dictionaries(st.sampled_from(["a", "b"]), names, min_size=1, max_size=2)

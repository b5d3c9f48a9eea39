"""Hypothesis strategies: JSON values, and blueprints that are DAGs."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition

NAMES = st.text(string.ascii_lowercase + string.digits + "-_./é", min_size=1, max_size=8)
ACTIONS = st.sampled_from(["yes", "no", "retry"])
CONDITIONS = st.sampled_from(
    ["result.output", "result.output.ok == true", "amount > 10", "result.action != null"]
)
TRANSFORMS = st.sampled_from(["input", "input.a", '{"value": input}', "context.amount"])


def json_values(max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """Any JSON that every backend keeps as it is."""
    integers = st.integers(-(2**53) + 1, 2**53 - 1)
    scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False)
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    return st.recursive(
        scalars | texts,
        lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
        max_leaves=max_leaves,
    )


def node_configs() -> st.SearchStrategy[NodeConfig]:
    """Configurations with times that are whole milliseconds."""
    milliseconds = st.integers(1, 10_000_000).map(lambda count: count / 1000)
    return st.builds(
        NodeConfig,
        max_retries=st.none() | st.integers(0, 10),
        retry_delay_s=st.none() | milliseconds,
        timeout_s=st.none() | milliseconds,
        join_strategy=st.sampled_from(["all", "any"]),
    )


@st.composite
def edge_lists(draw: st.DrawFn, ids: list[str], *, max_edges: int = 16) -> tuple[EdgeDefinition, ...]:
    """Edges that only go forward in the order of these ids."""
    if len(ids) < 2:
        return ()
    places = st.tuples(st.integers(0, len(ids) - 1), st.integers(0, len(ids) - 1)).filter(
        lambda p: p[0] < p[1]
    )
    pairs = draw(st.lists(places, max_size=max_edges, unique=True))
    return tuple(
        EdgeDefinition(
            ids[source],
            ids[target],
            action=draw(st.none() | ACTIONS),
            condition=draw(st.none() | CONDITIONS),
            transform=draw(st.none() | TRANSFORMS),
        )
        for source, target in pairs
    )


@st.composite
def dag_blueprints(draw: st.DrawFn, *, max_nodes: int = 10, plain: bool = False) -> Blueprint:
    """Blueprints without cycles; ``plain`` ones without actions, conditions, transforms and fallbacks."""
    ids = draw(st.lists(NAMES, min_size=1, max_size=max_nodes, unique=True))
    nodes = [
        NodeDefinition(node_id, uses="use " + draw(NAMES), config=draw(node_configs())) for node_id in ids
    ]
    edges = draw(edge_lists(ids))
    if plain:
        edges = tuple(EdgeDefinition(edge.source, edge.target) for edge in edges)
    else:
        nodes = [draw(_furnished(node, ids)) for node in nodes]
    order = draw(st.permutations(nodes))
    metadata = draw(st.dictionaries(NAMES, json_values(3), max_size=2))
    metadata.pop("version", None)
    if version := draw(st.none() | st.sampled_from(["1", "2.0"])):
        metadata["version"] = version
    return Blueprint(draw(NAMES), tuple(order), edges, metadata)


@st.composite
def _furnished(draw: st.DrawFn, node: NodeDefinition, ids: list[str]) -> NodeDefinition:
    others = [node_id for node_id in ids if node_id != node.id]
    fallback = draw(st.none() | st.sampled_from(others)) if others else None
    config = NodeConfig(
        node.config.max_retries,
        node.config.retry_delay_s,
        node.config.timeout_s,
        fallback,
        node.config.join_strategy,
        extra=draw(st.dictionaries(st.just("circuitBreaker"), json_values(2), max_size=1)),
    )
    inputs = draw(
        st.none()
        | st.sampled_from(ids)
        | st.dictionaries(NAMES, st.sampled_from(ids), min_size=1, max_size=2)
    )
    return NodeDefinition(
        node.id,
        node.uses,
        params=draw(st.dictionaries(NAMES, json_values(3), max_size=2)),
        inputs=inputs,
        config=config,
        extra=draw(
            st.dictionaries(st.sampled_from(["position", "_sourceLocation"]), json_values(3), max_size=1)
        ),
    )


@st.composite
def graph_blueprints(draw: st.DrawFn, *, max_nodes: int = 7) -> Blueprint:
    """Any directed graph: cycles, loops of one node, edges into nowhere, fallbacks."""
    ids = draw(st.lists(NAMES, min_size=1, max_size=max_nodes, unique=True))
    ends = st.sampled_from([*ids, "nowhere!"])
    edges = draw(st.lists(st.builds(EdgeDefinition, ends, ends), max_size=14))
    nodes = [
        NodeDefinition(node_id, "code", config=NodeConfig(fallback=draw(st.none() | st.sampled_from(ids))))
        for node_id in ids
    ]
    return Blueprint("graph", tuple(nodes), tuple(edges))

"""The analysis of a blueprint's graph agrees with a naive one, and stays linear."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from tests.unit.strategies import dag_blueprints, graph_blueprints

from flowcraft import analyze_blueprint
from flowcraft.analysis import MAX_CYCLES, reachable
from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition


def graph(*edges: tuple[str, str], nodes: str = "", fallbacks: dict[str, str] | None = None) -> Blueprint:
    ids = dict.fromkeys([*nodes.split(), *(node_id for edge in edges for node_id in edge)])
    configs = {node_id: NodeConfig(fallback=(fallbacks or {}).get(node_id)) for node_id in ids}
    return Blueprint(
        "graph",
        tuple(NodeDefinition(node_id, "code", config=configs[node_id]) for node_id in ids),
        tuple(EdgeDefinition(*edge) for edge in edges),
    )


def drawn(blueprint: Blueprint) -> list[tuple[str, str]]:
    """Naive: the edges; what leaves a node that is only a fallback leaves the first node that names it."""
    entered = {edge.target for edge in blueprint.edges}
    owners: dict[str, str] = {}
    for node in blueprint.nodes:
        if node.config.fallback is not None and node.config.fallback not in entered:
            owners.setdefault(node.config.fallback, node.id)
    return [(owners.get(edge.source, edge.source), edge.target) for edge in blueprint.edges]


def ways(blueprint: Blueprint) -> dict[str, set[str]]:
    """Naive: which nodes can be reached from each over at least one edge."""
    known = {node.id for node in blueprint.nodes}
    pairs = {pair for pair in drawn(blueprint) if set(pair) <= known}
    reached = {node_id: {target for source, target in pairs if source == node_id} for node_id in known}
    for _ in known:
        for targets in reached.values():
            for target in list(targets):
                targets.update(reached[target])
    return reached


@given(graph_blueprints())
def test_it_agrees_with_a_naive_analysis(blueprint: Blueprint) -> None:
    analysis = analyze_blueprint(blueprint)
    reached = ways(blueprint)
    entered = {edge.target for edge in blueprint.edges}
    left = {source for source, _ in drawn(blueprint)}
    spare = {node.config.fallback for node in blueprint.nodes} - entered
    ids = [node.id for node in blueprint.nodes]
    assert analysis.is_dag == all(node_id not in targets for node_id, targets in reached.items())
    assert list(analysis.start_node_ids) == [i for i in ids if i not in entered and i not in spare]
    assert list(analysis.terminal_node_ids) == [i for i in ids if i not in left and i not in spare]
    assert (analysis.node_count, analysis.edge_count) == (len(ids), len(blueprint.edges))
    for node_id in ids:
        assert reachable(blueprint, [node_id]) == reached[node_id] | {node_id}


@given(graph_blueprints())
def test_every_cycle_it_tells_is_one(blueprint: Blueprint) -> None:
    pairs = set(drawn(blueprint))
    for cycle in analyze_blueprint(blueprint).cycles:
        assert cycle[0] == cycle[-1]
        assert all(pair in pairs for pair in pairwise(cycle))


@given(dag_blueprints(plain=True))
def test_a_dag_has_no_cycles(blueprint: Blueprint) -> None:
    assert analyze_blueprint(blueprint).is_dag


def test_a_node_that_is_only_a_fallback_neither_starts_nor_ends() -> None:
    analysis = analyze_blueprint(graph(("a", "b"), nodes="spare", fallbacks={"a": "spare"}))
    assert analysis.start_node_ids == ("a",)
    assert analysis.terminal_node_ids == ("b",)


def test_the_edges_of_a_node_that_is_only_a_fallback_are_those_of_the_other_node() -> None:
    analysis = analyze_blueprint(graph(("spare", "b"), ("b", "c"), nodes="a", fallbacks={"a": "spare"}))
    assert analysis.start_node_ids == ("a",)
    assert analysis.terminal_node_ids == ("c",)


def test_a_fallback_that_edges_enter_is_a_node_like_others() -> None:
    analysis = analyze_blueprint(graph(("a", "b"), ("a", "c"), fallbacks={"b": "c"}))
    assert analysis.terminal_node_ids == ("b", "c")


def test_an_empty_blueprint_is_a_dag_of_nothing() -> None:
    analysis = analyze_blueprint(Blueprint("empty"))
    assert analysis.is_dag
    assert analysis.start_node_ids == analysis.terminal_node_ids == ()


def test_a_chain_of_ten_thousand_nodes_needs_no_recursion() -> None:
    chain = graph(*((f"n{i}", f"n{i + 1}") for i in range(10_000)))
    assert analyze_blueprint(chain).terminal_node_ids == ("n10000",)
    ring = graph(*((f"n{i}", f"n{(i + 1) % 10_000}") for i in range(10_000)))
    assert [len(cycle) for cycle in analyze_blueprint(ring).cycles] == [10_001]


def test_a_dense_graph_costs_as_much_as_it_has_edges() -> None:
    dense = graph(*((f"n{i}", f"n{j}") for i in range(300) for j in range(300)))
    began = time.process_time()
    analysis = analyze_blueprint(dense)
    assert len(analysis.cycles) == MAX_CYCLES
    assert time.process_time() - began < 2

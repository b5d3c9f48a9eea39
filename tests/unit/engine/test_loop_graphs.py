"""Any graph with cycles: following records one by one, and deriving from all of them, come to the same.

Structured programs have a meaning of their own (see ``test_loop_programs``); these graphs have what nobody
would draw: edges into the middle of a loop, out of several at once, from one branch of a round to the head.
"""

from __future__ import annotations

import random

import pytest
from tests.unit.engine.test_loop_programs import Follower

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition
from flowcraft.engine.derivation import resolve
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.records import NodeRecord

MAX_ROUNDS = 3
PER_TEST = 120


class Graph:
    """A random graph, and which edges its nodes take; it has the part of a program that a follower needs."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(f"graph {seed}")  # noqa: S311
        self.seed = seed
        ids = [f"n{number}" for number in range(rng.randint(3, 8))]
        edges = [EdgeDefinition(ids[number], ids[number + 1]) for number in range(len(ids) - 1)]
        for _ in range(rng.randint(1, 7)):
            source, target = rng.choice(ids), rng.choice(ids[1:])
            edges.append(EdgeDefinition(source, target, rng.choice([None, None, "x", "y"])))
        nodes = tuple(
            NodeDefinition(
                node_id, "code", config=NodeConfig(join_strategy=rng.choice(["all", "all", "any"]))
            )
            for node_id in ids
        )
        heads = rng.sample(ids, len(ids))
        self.plan = _planned(nodes, tuple(edges), heads)

    def taken(self, key: str) -> tuple[int, ...]:
        """Edges of one action, or without; none that begins a fourth round."""
        place, rng = NodeKey.parse(key), random.Random(f"{self.seed} {key}")  # noqa: S311
        hops = self.plan.hops
        outgoing = [
            position
            for position in self.plan.node(key).outgoing
            if not hops or not hops[position].back or place.rounds[hops[position].shared - 1] < MAX_ROUNDS
        ]
        if not outgoing or rng.random() < 0.1:
            return ()
        action = self.plan.edges[rng.choice(outgoing)].action
        return tuple(
            position
            for position in outgoing
            if self.plan.edges[position].action == action and rng.random() < 0.8
        )


def _planned(nodes: tuple[NodeDefinition, ...], edges: tuple[EdgeDefinition, ...], heads: list[str]) -> Plan:
    """The plan; where the graph leaves open where a loop begins, the first of these heads that will do."""
    for chosen in ([], *([head] for head in heads)):
        try:
            return Plan.of(Blueprint("graph", nodes, edges, {"cycleEntryPoints": chosen}))
        except ValueError:
            continue
    return Plan.of(Blueprint("graph", nodes, edges[: len(nodes) - 1]))


def check(seed: int) -> int:
    """Carry a graph out in both ways; gives how many loops it has."""
    graph = Graph(seed)
    follower = Follower(graph, seed)  # type: ignore[arg-type]
    resolved_at_end = None
    while follower.step():
        if follower.ends and resolved_at_end is None:
            resolved_at_end = len(follower.records)
    assert follower.ends == 1, "it did not end once"
    assert resolved_at_end == len(follower.records), "it ended before every node key was resolved"
    whole = resolve(graph.plan, follower.records)
    assert whole.ended
    assert (whole.ready, whole.skipped, whole.total) == ((), (), len(follower.records))
    records: dict[str, NodeRecord] = {}
    while not (resolution := resolve(graph.plan, records)).ended:
        assert resolution.ready or resolution.skipped, "stuck"
        new = [NodeRecord(key, NodeKey.parse(key).node, "skipped") for key in resolution.skipped]
        new += [
            NodeRecord(key, NodeKey.parse(key).node, "completed", taken=graph.taken(key))
            for key in resolution.ready
        ]
        records.update((record.key, record) for record in new)
    assert {key: record.status for key, record in records.items()} | dict.fromkeys(
        resolution.skipped, "skipped"
    ) == {key: record.status for key, record in follower.records.items()}
    return len(graph.plan.loops)


@pytest.mark.parametrize("part", range(3))
def test_any_graph_ends_once_with_the_same_records_in_both_ways(part: int) -> None:
    loops = 0
    for seed in range(part * PER_TEST, (part + 1) * PER_TEST):
        try:
            loops += check(seed)
        except Exception as error:
            raise AssertionError(f"graph {seed}: {error}") from error
    assert loops > PER_TEST / 2

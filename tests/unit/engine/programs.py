"""Random programs: a blueprint together with the edges that each node takes if it runs; and what they mean.

``meaning`` is the semantics read off the definition, edge by edge: the engine must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition
from flowcraft.engine.plan import Plan
from flowcraft.records import NodeRecord


@dataclass(frozen=True)
class Program:
    """A plan, and the positions of the edges that each node takes once it runs."""

    plan: Plan
    choices: Mapping[str, tuple[int, ...]]

    def record(self, node_id: str) -> NodeRecord:
        """The record of a node that ran."""
        return NodeRecord(node_id, node_id, "completed", output=node_id, taken=self.choices[node_id])


def skipped(node_id: str) -> NodeRecord:
    """The record of a node that was skipped."""
    return NodeRecord(node_id, node_id, "skipped")


@st.composite
def programs(draw: st.DrawFn, *, max_nodes: int = 10) -> Program:
    """Any DAG with any and all joins, parallel edges, several starts and ends, and any choice of edges."""
    count = draw(st.integers(1, max_nodes))
    ids = [f"n{number}" for number in range(count)]
    places = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda p: p[0] < p[1])
    pairs = draw(st.lists(places, max_size=2 * count)) if count > 1 else []
    nodes = tuple(
        NodeDefinition(
            node_id,
            "code",
            config=NodeConfig(join_strategy=draw(st.sampled_from(["all", "all", "any"]))),
        )
        for node_id in draw(st.permutations(ids))
    )
    edges = tuple(EdgeDefinition(ids[source], ids[target]) for source, target in pairs)
    plan = Plan.of(Blueprint("program", nodes, edges))
    choices = {
        node.id: tuple(position for position in node.outgoing if draw(st.integers(0, 3)) > 0)
        for node in plan.nodes.values()
    }
    return Program(plan, choices)


@dataclass(frozen=True)
class Meaning:
    """What records imply: nodes that may run, nodes on dead paths, and whether anything is left."""

    ready: frozenset[str]
    dead: frozenset[str]
    ended: bool


def meaning(plan: Plan, records: Mapping[str, NodeRecord]) -> Meaning:
    """Apply the two rules until nothing changes: edges follow their sources, nodes follow their edges."""
    ready: set[str] = set()
    dead: set[str] = set()
    edges: dict[int, bool] = {}
    changed = True
    while changed:
        changed = False
        for position, edge in enumerate(plan.edges):
            if position in edges:
                continue
            record = records.get(edge.source)
            if record is not None and record.resolved:
                edges[position] = position in record.taken
                changed = True
            elif edge.source in dead:
                edges[position] = False
                changed = True
        for node in plan.nodes.values():
            if node.id in records or node.id in ready or node.id in dead:
                continue
            known = [edges[position] for position in node.incoming if position in edges]
            complete = len(known) == len(node.incoming)
            runs = (any(known) and (complete or node.any_join)) or not node.incoming
            if runs:
                ready.add(node.id)
                changed = True
            elif complete:
                dead.add(node.id)
                changed = True
    resolved = {key for key, record in records.items() if record.resolved} | dead
    return Meaning(frozenset(ready), frozenset(dead), resolved == set(plan.nodes))


def outcome(program: Program) -> tuple[frozenset[str], frozenset[str]]:
    """The nodes that run and the nodes that are skipped when everything is carried to its end."""
    records: dict[str, NodeRecord] = {}
    while True:
        now = meaning(program.plan, records)
        if not now.ready and not now.dead:
            break
        records.update((node_id, skipped(node_id)) for node_id in now.dead)
        records.update((node_id, program.record(node_id)) for node_id in now.ready)
    ran = frozenset(key for key, record in records.items() if record.status == "completed")
    return ran, frozenset(records) - ran

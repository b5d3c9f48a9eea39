"""Random programs with loops as the original's builder writes them, and what may differ in them.

A loop has a first and a last node and a controller behind it; the last node sets the context key that the
controller's condition reads. Half of the programs have the builder's own transforms, which the original's
default evaluator cannot read; the others have paths in their place, so that values are compared, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from tests.parity.outcome import Outcome, same
from tests.parity.programs import VALUES, Program, own_key

from flowcraft.engine.keys import NodeKey

ANY = {"joinStrategy": "any"}


@dataclass
class _Drawing:
    """A program as far as it is drawn."""

    draw: st.DrawFn
    paths: bool
    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[dict[str, Any]] = field(default_factory=list)
    loops: int = 0

    def node(self, **more: Any) -> str:
        node_id = f"n{len(self.nodes)}"
        choices = [{"value": value} for value in VALUES] + ["input"] * 14 * self.paths
        params = {"node": node_id, "output": self.draw(st.sampled_from(choices))}
        if self.draw(st.integers(0, 3)) == 0:
            params["set"] = {own_key(node_id): self.draw(st.sampled_from(VALUES))}
        self.nodes.append({"id": node_id, "uses": "act", "params": params, "config": {}, **more})
        return node_id

    def edge(self, source: str, target: str, **more: Any) -> None:
        self.edges.append({"source": source, "target": target, **more})

    def piece(self, before: str, depth: int, *, inside: bool, loops: int = 0) -> str:
        """A piece of a program behind a node, and in a loop behind so many loops; its last node."""
        kind = self.draw(st.integers(0, 5))
        if kind == 0 and not loops:  # see rule loop-behind-loop
            return self.diamond(before, inside=inside)
        if kind in (1, 2) and depth:
            return self.loop(before, depth - 1, inside=inside)
        node = self.node(config=dict(ANY) if inside else {})
        self.edge(before, node)
        if self.draw(st.integers(0, 5)) == 0:
            leaf = self.node(config=dict(ANY) if inside else {})
            self.edge(node, leaf)
        return node

    def diamond(self, before: str, *, inside: bool) -> str:
        ways = [self.node(config=dict(ANY) if inside else {}) for _ in range(2)]
        join = self.node(inputs={"one": ways[0], "other": ways[1]})
        for way in ways:
            self.edge(before, way)
            self.edge(way, join)
        return join

    def loop(self, before: str, depth: int, *, inside: bool) -> str:
        first = self.node(config=dict(ANY))
        last, within = first, self.loops
        for _ in range(self.draw(st.integers(0, 2))):
            last = self.piece(last, depth, inside=True, loops=self.loops - within)
        end = self.node(config=dict(ANY))
        self.edge(last, end)
        times = self.draw(st.integers(1, 3))
        self.nodes[int(end[1:])]["params"] |= {"set": {}, "turns": {"key": own_key(end), "times": times}}
        self.loops += 1
        controller = f"n{len(self.nodes)}"
        condition = {"condition": own_key(end)}
        self.nodes.append({"id": controller, "uses": "loop-controller", "params": condition, "config": ANY})
        transform = f"context.{end}" if self.paths else f'context["{end}"]'
        after = self.node(config=dict(ANY) if inside else {})
        self.edge(before, first)
        self.edge(end, controller)
        self.edge(controller, first, action="continue", transform=transform)
        self.edge(controller, after, action="break", transform=transform)
        return after


@st.composite
def loop_programs(draw: st.DrawFn) -> Program:
    """A start node, then loops, diamonds and chains."""
    drawing = _Drawing(draw, paths=draw(st.booleans()))
    start = drawing.node()
    drawing.nodes[0]["params"]["output"] = {"value": 1}  # it gets the run's input here, and nothing there
    last = drawing.loop(start, 1, inside=False)
    for _ in range(draw(st.integers(0, 2))):
        last = drawing.piece(last, 1, inside=False)
    nodes = draw(st.permutations(drawing.nodes))
    blueprint = {"id": "random", "nodes": nodes, "edges": drawing.edges}
    return Program(blueprint, {}, tuple(node["id"] for node in drawing.nodes))


def loop_differences(program: Program, ours: Outcome, theirs: Outcome) -> Iterator[str]:
    """What differs in a run, but for what rules say: start-input, expressions, loop-controller-output."""
    if not ours.status == theirs.status == "completed":
        yield f"the run is {ours.status} here and {theirs.status} there"
        return
    latest = _latest(ours)
    nodes = {node["id"]: node for node in program.blueprint["nodes"]}
    unread = {edge["target"] for edge in program.blueprint["edges"] if '["' in edge.get("transform", "")}
    for node_id in program.order[1:]:  # a start node gets the run's input here
        if nodes[node_id]["uses"] == "loop-controller":
            continue
        here, there = ours.calls.get(node_id, []), theirs.calls.get(node_id, [])
        if len(here) != len(there):
            yield f"{node_id} ran {len(here)} times here, {len(there)} times there"
        elif node_id not in unread and not same(here, there):
            yield f"{node_id} got {here!r} here, {there!r} there"
        if not same(latest.get(node_id), theirs.outputs.get(node_id)):
            yield f"{node_id} gave {latest.get(node_id)!r} here, {theirs.outputs.get(node_id)!r} there"
        key = own_key(node_id)
        if not same(ours.keys.get(key), theirs.keys.get(key)):
            yield f"context key {key} is {ours.keys.get(key)!r} here, {theirs.keys.get(key)!r} there"


def _latest(ours: Outcome) -> Mapping[str, Any]:
    """The output of each node in the last round in which it ran."""
    found: dict[str, tuple[tuple[int, ...], Any]] = {}
    for text, output in ours.outputs.items():
        key = NodeKey.parse(text)
        if key.node not in found or key.rounds > found[key.node][0]:
            found[key.node] = key.rounds, output
    return {node_id: output for node_id, (_, output) in found.items()}

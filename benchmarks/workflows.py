"""The workflows that are measured: nodes that do nothing, in a row and side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flowcraft import App, NodeContext

app = App("bench")


@app.node("noop")
async def noop(_ctx: NodeContext) -> None:
    """Do nothing: what is left is the engine's own cost."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """The shape of a workflow, for those who run it without the engine.

    Attributes:
        name: Blueprint id.
        first: The node it starts with.
        following: By node, the nodes behind it, in the order of the edges.
        sources: By node, the nodes before it.
    """

    name: str
    first: str
    following: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, tuple[str, ...]]

    @property
    def nodes(self) -> int:
        """How many nodes a run executes."""
        return len(self.following)


def row(name: str, length: int) -> Workflow:
    """Nodes in a row."""
    names = [f"n{position}" for position in range(length)]
    return _registered(name, list(itertools.pairwise(names)))


def fan(name: str, width: int) -> Workflow:
    """One node, then ``width`` nodes side by side, then one that waits for all of them."""
    middle = [f"m{position}" for position in range(width)]
    return _registered(name, [edge for node in middle for edge in (("a", node), (node, "z"))])


def _registered(name: str, edges: list[tuple[str, str]]) -> Workflow:
    following: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    for source, target in edges:
        for node in (source, target):
            following.setdefault(node, [])
            sources.setdefault(node, [])
        following[source].append(target)
        sources[target].append(source)
    flow = app.flow(name, version="1")
    for node in following:
        flow.node(node, uses="noop")
    for source, target in edges:
        flow.edge(source, target)
    return Workflow(name, edges[0][0], _fixed(following), _fixed(sources))


def _fixed(lists: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {node: tuple(others) for node, others in lists.items()}


WORKFLOWS: Final[Mapping[str, Workflow]] = {
    workflow.name: workflow for workflow in (row("linear5", 5), fan("fan8", 8), fan("wide1000", 1000))
}

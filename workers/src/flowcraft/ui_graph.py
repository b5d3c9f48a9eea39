"""A blueprint as user interfaces draw it: a batch is one node, a loop is an edge that goes back.

The form is the original's, so that an editor made for it can draw ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeDefinition


class GraphRepresentation(TypedDict):
    """Nodes and edges, as JSON; a batch has ``type: batch-worker``, an edge that goes back has ``data``."""

    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


def to_graph_representation(blueprint: Blueprint) -> GraphRepresentation:
    """The graph of a blueprint with its batches and loop controllers collapsed."""
    batches = {batch.scatter.id: batch for batch in _batches(blueprint)}
    stands_for = {
        part: batch.id for batch in batches.values() for part in (batch.scatter.id, batch.gather.id)
    }
    controllers = {node.id: node for node in blueprint.nodes if node.uses == "loop-controller"}
    loops = {each: _loop(blueprint, each) for each in controllers}
    nodes: list[dict[str, Any]] = []
    for node in blueprint.nodes:
        if node.id in batches:
            nodes.append(batches[node.id].to_dict())
        elif node.id not in stands_for and not loops.get(node.id):
            nodes.append(node.to_dict())
    edges: list[dict[str, Any]] = []
    for edge in blueprint.edges:
        for drawn in _drawn(edge, controllers, loops):
            source, target = drawn["source"], drawn["target"]
            drawn |= {"source": stands_for.get(source, source), "target": stands_for.get(target, target)}
            inside = source in batches and stands_for[source] == drawn["target"] and "data" not in drawn
            if not inside and drawn not in edges:
                edges.append(drawn)
    return {"nodes": nodes, "edges": edges}


class _Batch:
    def __init__(self, scatter: NodeDefinition, gather: NodeDefinition) -> None:
        self.scatter = scatter
        self.gather = gather
        self.id = scatter.id.removesuffix("_scatter")

    def to_dict(self) -> dict[str, Any]:
        worker = self.scatter.params.get("workerUsesKey")
        return {
            "id": self.id,
            "uses": worker,
            "type": "batch-worker",
            "data": {
                "label": f"Batch: {self.id}",
                "isBatchPlaceholder": True,
                "workerUsesKey": worker,
                "inputKey": self.scatter.inputs,
                "outputKey": self.gather.params.get("outputKey"),
            },
        }


def _batches(blueprint: Blueprint) -> Iterator[_Batch]:
    known = {node.id: node for node in blueprint.nodes}
    for node in blueprint.nodes:
        gather = known.get(str(node.params.get("gatherNodeId")))
        if node.uses == "batch-scatter" and gather is not None:
            yield _Batch(node, gather)


def _loop(blueprint: Blueprint, controller: str) -> tuple[str, str] | None:
    """First and last node of a controller's loop; None if it has not the usual form."""
    starts = [e.target for e in blueprint.edges if e.source == controller and e.action == "continue"]
    ends = [edge.source for edge in blueprint.edges if edge.target == controller]
    return (starts[0], ends[0]) if len(starts) == 1 and ends else None


def _drawn(
    edge: EdgeDefinition,
    controllers: Mapping[str, NodeDefinition],
    loops: Mapping[str, tuple[str, str] | None],
) -> Iterator[dict[str, Any]]:
    """How an edge is drawn: as it is, or from and to the ends of a loop instead of its controller."""
    document = edge.to_dict()
    leaving, entering = loops.get(edge.source), loops.get(edge.target)
    if leaving is not None and edge.action == "continue":
        start, end = leaving
        condition = controllers[edge.source].params.get("condition")
        back = {"isLoopback": True, "condition": condition, "label": f"continue if: {condition}"}
        yield {"source": end, "target": start, "data": back}
    elif entering is not None and edge.source == entering[1]:
        return
    elif entering is not None:
        yield {**document, "target": entering[0]}
    elif leaving is not None:
        yield {**document, "source": leaving[1]}
    else:
        yield document

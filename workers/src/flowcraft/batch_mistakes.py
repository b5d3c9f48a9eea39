"""Mistakes in the batches of a blueprint, for the linter."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from flowcraft.analysis import kinds, reachable
from flowcraft.blueprint import Blueprint, NodeDefinition
from flowcraft.engine.making import GATHER, SCATTER, Settings
from flowcraft.errors import BlueprintError
from flowcraft.implementation import BUILT_IN_USES


class BatchMistake(NamedTuple):
    """One mistake: its code, what is wrong, and of which node."""

    code: str
    message: str
    node: str


def batch_mistakes(blueprint: Blueprint, registry: Collection[str] | None) -> Iterator[BatchMistake]:
    """What is wrong with batches; without a registry, whether workers have code is not looked at."""
    if kinds(blueprint).isdisjoint((SCATTER, GATHER)):
        return
    named = {node.params.get("gatherNodeId") for node in blueprint.nodes if node.uses == SCATTER}
    entered = {edge.target for edge in blueprint.edges}
    for node in blueprint.nodes:
        if node.uses in (SCATTER, GATHER):
            yield from _worker(node, registry)
        if node.uses == SCATTER:
            yield from _gather(blueprint, node)
            yield from _settings(node)
        elif node.uses == GATHER and node.id not in named and node.id not in entered:
            message = (
                f"node {node.id} gathers nothing; name it as `params.gatherNodeId` of a batch-scatter node"
            )
            yield BatchMistake("INVALID_BATCH_GATHER", message, node.id)


def _worker(node: NodeDefinition, registry: Collection[str] | None) -> Iterator[BatchMistake]:
    worker = node.params.get("workerUsesKey")
    if not isinstance(worker, str) or not worker:
        if node.uses == SCATTER or worker is not None:
            message = f"node {node.id} must name what runs each item, as `params.workerUsesKey`"
            yield BatchMistake("INVALID_BATCH_WORKER_KEY", message, node.id)
    elif registry is not None and worker not in registry and worker not in BUILT_IN_USES:
        message = (
            f"node {node.id} runs {worker!r} on each item, which is not registered; add @app.node({worker!r})"
        )
        yield BatchMistake("INVALID_BATCH_WORKER_KEY", message, node.id)


def _gather(blueprint: Blueprint, node: NodeDefinition) -> Iterator[BatchMistake]:
    gather = node.params.get("gatherNodeId")
    if not isinstance(gather, str) or gather not in blueprint.node_ids:
        message = f"node {node.id} names {gather!r} as `params.gatherNodeId`, and there is no such node"
        yield BatchMistake("INVALID_BATCH_GATHER", message, node.id)
        return
    direct = any(edge.source == node.id and edge.target == gather for edge in blueprint.edges)
    if not direct and gather not in reachable(blueprint, [node.id]):
        message = f"no way leads from {node.id} to {gather}, which gathers its results; add an edge"
        yield BatchMistake("INVALID_BATCH_GATHER", message, node.id)


def _settings(node: NodeDefinition) -> Iterator[BatchMistake]:
    """Parameters other than those two names, which have codes of their own."""
    try:
        Settings.of({**node.params, "workerUsesKey": "worker", "gatherNodeId": "gather"})
    except BlueprintError as error:
        yield BatchMistake("INVALID_BATCH_SETTING", f"node {node.id}: {error}", node.id)

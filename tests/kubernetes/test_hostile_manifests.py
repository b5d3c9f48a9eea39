"""Manifests that would harm others: the operator goes on for everybody else, and says what is wrong."""

from __future__ import annotations

import json

import pytest
from tests.kubernetes.conftest import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.emulators, pytest.mark.timeout(240)]


def nested(levels: int) -> str:
    """JSON of an object in an object, so many times."""
    return '{"in":' * levels + "{}" + "}" * levels


def create(scene: Scene, kind: str, name: str, spec: str) -> None:
    """Create a resource of JSON that this process does not read."""
    head = json.dumps({"apiVersion": "flowcraft.io/v1alpha1", "kind": kind, "metadata": {"name": name}})
    scene.kubectl(
        "create", "--validate=false", "-f", "-", "-o", "name", stdin=f'{head[:-1]}, "spec": {spec}}}'
    )


async def test_a_deeply_nested_resource_is_refused_and_harms_nobody_else(scene: Scene) -> None:
    levels = {"deep": 300, "deeper": 3000}
    for name, count in levels.items():
        run = (
            '{"poolRef": {"name": "orders"}, "blueprint": {"name": "order"}, "input": ' + nested(count) + "}"
        )
        create(scene, "WorkflowRun", name, run)
    pool = '{"image": "i", "app": "a:b", "template": {"spec": ' + nested(2000) + "}}"
    create(scene, "FlowcraftWorkerPool", "deep", pool)
    scene.operator()
    scene.pool()
    scene.run("order")
    await scene.accepted("order")

    for name in levels:
        await scene.reason("workflowrun", name, "Accepted", "InvalidSpec")
    await scene.reason("flowcraftworkerpool", "deep", "Ready", "InvalidSpec")
    scene.kubectl("delete", "workflowrun,flowcraftworkerpool", "--all", "--timeout=60s")

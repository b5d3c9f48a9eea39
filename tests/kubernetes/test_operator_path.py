"""The thin true path: a pool gets its Deployment, a run starts, runs and ends, on a real API server."""

from __future__ import annotations

import pytest
from tests.kubernetes.conftest import Scene, conditions
from tests.kubernetes.programs import until

pytestmark = [pytest.mark.cluster, pytest.mark.emulators, pytest.mark.timeout(240)]


async def test_a_run_goes_to_succeeded_and_leaves_nothing_behind(scene: Scene) -> None:
    operator = scene.operator()
    scene.pool()
    deployment = await until("a Deployment", lambda: scene.get("deployment", "orders-workers"))
    assert deployment["spec"]["replicas"] == 0
    scene.run("order-1")
    await until("a worker is wanted", lambda: scene.replicas() == 1)
    scene.worker(f"{scene.namespace}-orders")

    run = await scene.phase("order-1", "Succeeded")

    assert run["status"]["output"]["ship"]["shipped"] is True
    assert run["status"]["runId"] == run["metadata"]["uid"]
    assert run["status"]["progress"] == "4/4"
    assert {name: each["status"] for name, each in conditions(run).items()} == {
        "Accepted": "True",
        "Succeeded": "True",
        "Finished": "True",
    }
    await until("no finalizer", lambda: not scene.get("workflowrun", "order-1")["metadata"].get("finalizers"))
    await until("no worker", lambda: scene.replicas() == 0)
    assert "Traceback" not in operator.text()

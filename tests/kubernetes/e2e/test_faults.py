"""What may break while a run is going on, and does not break the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.local_cluster import until
from tests.cluster.operator_release import NAMESPACE, OperatorRelease
from tests.kubernetes.e2e.backend import Line, backend_spec, secret
from tests.kubernetes.e2e.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ALL_NODES = {"first", "left", "right", "last"}


@pytest.fixture
def line(chores: Scene) -> Iterator[Line]:
    """A way to the backend that can be cut, and a pool `distant` that takes it."""
    made = Line(chores.cluster.host_address, chores.backend.connections)
    chores.apply(secret("distant", made.connections))
    chores.pool("distant", backend=backend_spec("distant"))
    chores.wait("flowcraftworkerpool/distant", "condition=Ready")
    yield made
    made.cut()


def assert_complete(scene: Scene, name: str, run_id: str) -> None:
    status = scene.wait_phase(name, "Succeeded")
    assert status["progress"] == "4/4"
    assert status["output"]["last"]["done"] == ["first", "left", "last"]
    assert scene.backend.finished_nodes(run_id) == ALL_NODES


def test_run_survives_a_killed_worker(chores: Scene) -> None:
    run_id = chores.run("worker-killed", seconds=2)
    chores.wait_finished_node(run_id, "first")

    killed = chores.kill_workers("chores")

    assert chores.status("workflowrun/worker-killed")["phase"] == "Running"
    assert_complete(chores, "worker-killed", run_id)
    assert not set(killed) & set(chores.worker_pods("chores"))


def test_run_survives_a_deleted_operator(chores: Scene, operator: OperatorRelease) -> None:
    before = operator.pod()["metadata"]["name"]
    run_id = chores.run("operator-deleted", seconds=2)
    chores.wait_finished_node(run_id, "first")

    chores.cluster.kubectl("delete", "pod", before, "-n", NAMESPACE, "--force", "--grace-period=0")

    assert_complete(chores, "operator-deleted", run_id)
    assert operator.pod()["metadata"]["name"] != before


def test_stalled_run_whose_messages_were_all_deleted_is_repaired(chores: Scene) -> None:
    run_id = chores.run("messages-lost", seconds=2)
    chores.wait_finished_node(run_id, "first")

    chores.kill_workers("chores")
    chores.backend.clear(chores.queue("chores"))

    assert chores.backend.message_count(chores.queue("chores")) == 0
    assert chores.backend.finished_nodes(run_id) != ALL_NODES
    assert_complete(chores, "messages-lost", run_id)
    repaired = chores.status("flowcraftworkerpool/chores")["lastReconciliation"]
    assert repaired["failedRuns"] == 0


def test_run_goes_on_when_its_backend_is_back(chores: Scene, line: Line) -> None:
    run_id = chores.run("line-cut", seconds=2, poolRef={"name": "distant"})
    chores.wait_finished_node(run_id, "first")

    line.cut()
    reachable = chores.wait_reason("flowcraftworkerpool/distant", "BackendReachable", "BackendUnreachable")
    blocked = until(
        "a reason on the run",
        lambda: (
            found
            if (found := chores.condition("workflowrun/line-cut", "Succeeded"))["reason"]
            == "BackendUnreachable"
            else None
        ),
    )
    line.mend()

    assert reachable["status"] == "False"
    assert blocked["status"] == "Unknown"
    assert_complete(chores, "line-cut", run_id)
    chores.wait("flowcraftworkerpool/distant", "condition=BackendReachable")


def test_deletion_of_an_active_run_does_not_hang_on_an_unreachable_backend(chores: Scene, line: Line) -> None:
    run_id = chores.run("unreachable", seconds=600, poolRef={"name": "distant"})
    chores.wait_phase("unreachable", "Running")
    line.cut()

    chores.kubectl("delete", "workflowrun", "unreachable", "--timeout=90s", timeout_s=100)

    line.mend()
    assert chores.backend.run_status(run_id) == "running"
    events = chores.kubectl("get", "events", "--field-selector=involvedObject.name=unreachable", "-o", "name")
    assert events


def test_backend_unreachable_at_the_start_is_told_and_waited_for(scene: Scene) -> None:
    line = Line(scene.cluster.host_address, scene.backend.connections)
    line.cut()
    scene.apply(secret("distant", line.connections))
    scene.pool("chores", backend=backend_spec("distant"))
    scene.run("patient", seconds=0)

    scene.wait_reason("flowcraftworkerpool/chores", "BackendReachable", "BackendUnreachable")
    told = scene.wait_reason("workflowrun/patient", "Accepted", "BackendUnreachable")
    line.mend()

    assert told["status"] == "Unknown"
    scene.wait("workflowrun/patient", "condition=Succeeded")
    line.cut()

"""`helm uninstall` with active runs, and what is there when the chart comes back."""

from __future__ import annotations

import pytest
from tests.cluster.operator_release import OperatorRelease
from tests.kubernetes.e2e.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def test_runs_outlive_the_operator_and_their_deletion_never_waits_for_it(
    scene: Scene, operator: OperatorRelease
) -> None:
    scene.pool("chores")
    finished_without = scene.run("goes-on", seconds=4)
    scene.run("deleted", seconds=600)
    for name in ("goes-on", "deleted"):
        scene.wait_phase(name, "Running")

    operator.uninstall()
    try:
        scene.kubectl("delete", "workflowrun", "deleted", "--timeout=5s")
        scene.wait_finished_node(finished_without, "last")
        assert scene.status("workflowrun/goes-on")["phase"] == "Running"
    finally:
        notes = operator.install()

    assert "kubectl explain workflowrun.spec" in notes
    scene.wait("workflowrun/goes-on", "condition=Succeeded")

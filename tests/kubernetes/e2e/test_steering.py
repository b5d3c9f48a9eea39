"""Suspend, resume, cancel and delete: what a spec asks of an active run."""

from __future__ import annotations

import pytest
from tests.cluster.local_cluster import until
from tests.kubernetes.e2e.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


def test_suspended_run_starts_no_further_node_until_it_is_resumed(chores: Scene) -> None:
    run_id = chores.run("suspended", seconds=2)
    chores.wait_finished_node(run_id, "first")

    chores.patch("suspended", suspend=True)
    chores.wait_phase("suspended", "Suspended")
    # The two that were at work may end; the last one must not begin.
    until(
        "the nodes at work to end",
        lambda: chores.backend.finished_nodes(run_id) >= {"first", "left", "right"},
    )
    assert "last" not in chores.backend.finished_nodes(run_id)
    chores.patch("suspended", suspend=False)

    assert chores.wait_phase("suspended", "Succeeded")["progress"] == "4/4"


def test_run_applied_suspended_starts_when_it_is_resumed(chores: Scene) -> None:
    run_id = chores.run("asleep", seconds=0, suspend=True)
    chores.wait_phase("asleep", "Suspended")
    assert chores.backend.finished_nodes(run_id) == set()

    chores.patch("asleep", suspend=False)

    chores.wait("workflowrun/asleep", "condition=Succeeded")


def test_cancelled_run_ends_and_stays_cancelled(chores: Scene) -> None:
    run_id = chores.run("cancelled", seconds=30)
    chores.wait_phase("cancelled", "Running")

    chores.patch("cancelled", cancel=True)
    ended = chores.wait_phase("cancelled", "Cancelled")
    chores.patch("cancelled", cancel=False)

    assert ended["finishedAt"]
    assert chores.condition("workflowrun/cancelled", "Finished")["status"] == "True"
    assert chores.condition("workflowrun/cancelled", "Succeeded")["reason"] == "Cancelled"
    assert chores.backend.run_status(run_id) == "cancelled"
    generation = chores.kubectl("get", "workflowrun", "cancelled", "-o", "jsonpath={.metadata.generation}")
    chores.wait("workflowrun/cancelled", f"jsonpath={{.status.observedGeneration}}={generation}")
    assert chores.status("workflowrun/cancelled")["phase"] == "Cancelled"


def test_deleting_an_active_run_cancels_it(chores: Scene) -> None:
    run_id = chores.run("deleted", seconds=30)
    chores.wait_phase("deleted", "Running")

    chores.kubectl("delete", "workflowrun", "deleted", "--timeout=20s")

    assert chores.backend.run_status(run_id) == "cancelled"


def test_run_past_its_deadline_fails_and_says_so(chores: Scene) -> None:
    chores.run("late", seconds=30, deadline="3s")

    chores.wait_phase("late", "Failed")

    assert chores.condition("workflowrun/late", "Succeeded")["reason"] == "DeadlineExceeded"

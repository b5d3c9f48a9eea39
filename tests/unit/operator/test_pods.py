from __future__ import annotations

from typing import Any

from flowcraft_operator.planning.pods import worker_problem


def pod(name: str = "w-1", *, waiting: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    state = {"waiting": waiting} if waiting else {"running": {}}
    status = {"name": "worker", "image": "example/shop:9", "state": state, "ready": False, **container}
    return {"metadata": {"name": name}, "status": {"containerStatuses": [status]}}


def test_no_pod_and_a_starting_pod_are_no_problem() -> None:
    assert worker_problem([]) is None
    assert worker_problem([pod(), pod(waiting={"reason": "ContainerCreating"})]) is None


def test_an_image_that_cannot_be_pulled_is_told_with_its_name() -> None:
    found = worker_problem([pod(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling"})])
    assert found is not None
    assert found.reason == "ImagePullFailed"
    assert "example/shop:9" in found.message
    assert "Back-off pulling" in found.message


def test_a_missing_secret_is_told() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "azure" not found'}
    found = worker_problem([pod(waiting=waiting)])
    assert found is not None
    assert found.reason == "WorkerConfigurationFailed"
    assert 'secret "azure" not found' in found.message


def test_a_worker_that_ends_again_and_again_is_told_with_its_last_words() -> None:
    ended = {"terminated": {"exitCode": 2, "message": "no module named shop"}}
    found = worker_problem([pod(waiting={"reason": "CrashLoopBackOff"}, lastState=ended, restartCount=3)])
    assert found is not None
    assert found.reason == "WorkersCrashing"
    assert "exit code 2; no module named shop" in found.message


def test_one_restart_is_no_news() -> None:
    assert worker_problem([pod(restartCount=1)]) is None
    assert worker_problem([pod(restartCount=9, ready=True)]) is None


def test_a_pod_that_finds_no_node_is_told() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    found = worker_problem([{"metadata": {"name": "w"}, "status": {"conditions": [unscheduled]}}])
    assert found is not None
    assert found.reason == "WorkersUnschedulable"
    assert "0/3 nodes" in found.message


def test_the_image_comes_before_all_else_and_pods_that_go_tell_nothing() -> None:
    bad_image = pod("old", waiting={"reason": "ErrImagePull"})
    crashing = pod("new", waiting={"reason": "CrashLoopBackOff"})
    found = worker_problem([crashing, bad_image])
    assert found is not None
    assert found.reason == "ImagePullFailed"
    bad_image["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    found = worker_problem([crashing, bad_image])
    assert found is not None
    assert found.reason == "WorkersCrashing"

"""What users get wrong: refused by the API server, or visible where they look, and no harm to other runs."""

from __future__ import annotations

import json

import pytest
from tests.cluster.local_cluster import ClusterCommandError, until
from tests.kubernetes.e2e.backend import backend_spec, secret
from tests.kubernetes.e2e.scene import Scene, chores_pool, run_manifest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

WRONG_KEY = "AccountKey=d3Jvbmc="


def refusal(scene: Scene, manifest: dict[str, object], *options: str) -> str:
    """What the API server says to a manifest that it refuses."""
    with pytest.raises(ClusterCommandError) as refused:
        scene.kubectl("apply", *options, "-f", "-", stdin=json.dumps(manifest))
    return str(refused.value)


def blueprint(nodes: list[dict[str, str]], edges: list[dict[str, str]]) -> dict[str, object]:
    """A blueprint as the original writes it."""
    return {"id": "own", "nodes": nodes, "edges": edges, "metadata": {"version": "1"}}


def test_run_waits_for_its_pool_and_goes_on_when_it_appears(scene: Scene) -> None:
    scene.run("early", seconds=0)
    waiting = scene.wait_reason("workflowrun/early", "Accepted", "PoolNotFound")
    assert "chores does not exist" in waiting["message"]
    assert scene.status("workflowrun/early")["phase"] == "Pending"

    scene.pool("chores")

    scene.wait("workflowrun/early", "condition=Succeeded")


def test_unknown_blueprint_is_visible_and_other_runs_go_on(chores: Scene) -> None:
    chores.run("unknown", blueprint={"name": "nowhere", "version": "1"})
    chores.run("known", seconds=0)

    chores.wait("workflowrun/known", "condition=Succeeded")

    def reason() -> str | None:
        found = chores.condition("workflowrun/unknown", "Succeeded").get("reason")
        return found if found not in {None, "Pending", "Running"} else None

    assert until("a reason on the run", reason) == "BlueprintUnknown"
    summary = chores.condition("workflowrun/unknown", "Succeeded")
    assert summary["status"] == "Unknown"
    assert "nowhere" in summary["message"]
    chores.kubectl("delete", "workflowrun", "unknown", "--timeout=20s")


def test_image_that_cannot_be_pulled_is_visible_on_the_pool(scene: Scene) -> None:
    scene.pool("chores", image="localhost/nobody-has-this:1")
    scene.run("waiting", seconds=0)

    ready = scene.wait_reason("flowcraftworkerpool/chores", "Ready", "ImagePullFailed")

    assert ready["status"] == "False"
    assert "localhost/nobody-has-this:1" in ready["message"]
    scene.kubectl("patch", "fwp", "chores", "--type=merge", "-p", json.dumps({"spec": working_image()}))
    scene.wait("workflowrun/waiting", "condition=Succeeded")


def working_image() -> dict[str, object]:
    return {"image": chores_pool("any")["spec"]["image"]}


def test_wrong_credentials_are_told_and_mending_them_needs_no_restart(scene: Scene) -> None:
    right = scene.backend.connections
    wrong = right.azure_storage_connection_string.split("AccountKey=")
    storage = f"{wrong[0]}{WRONG_KEY};{wrong[1].partition(';')[2]}"
    scene.apply(secret("azure", right, storage=storage))
    scene.pool("chores", backend=backend_spec("azure"))
    scene.run("patient", seconds=0)

    pool = "flowcraftworkerpool/chores"
    until("False", lambda: scene.condition(pool, "BackendReachable").get("status") == "False")
    told = scene.condition(pool, "BackendReachable")
    assert told["reason"] == "BackendRefused"
    assert "d3Jvbmc" not in json.dumps(scene.status(pool))

    scene.apply(secret("azure", right))

    scene.wait(pool, "condition=BackendReachable")
    scene.wait("workflowrun/patient", "condition=Succeeded")


def test_input_over_the_limit_fails_the_run_with_the_reason(chores: Scene) -> None:
    manifest = run_manifest("large", input={"seconds": 0, "text": "x" * 1_100_000})

    # Larger than what a client-side apply can keep in an annotation.
    chores.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))

    chores.wait_phase("large", "Failed")
    summary = chores.condition("workflowrun/large", "Succeeded")
    assert summary["reason"] == "InputTooLarge"
    assert "1048576" in summary["message"]


def test_changed_immutable_spec_is_refused(chores: Scene) -> None:
    given = run_manifest("pinned", input={"seconds": 0, "label": {"text": "a"}})
    chores.apply(given)

    def changed(**spec: object) -> dict[str, object]:
        return {**given, "spec": {**given["spec"], **spec}}

    assert "poolRef is immutable" in refusal(chores, changed(poolRef={"name": "other"}))
    assert "blueprint is immutable" in refusal(chores, changed(blueprint={"name": "house", "version": "2"}))
    assert "input is immutable" in refusal(chores, changed(input={"seconds": 1, "label": {"text": "a"}}))
    # A renamed key of a free-form object is what the definition's rules miss; the admission policy sees it.
    assert "input is immutable" in refusal(chores, changed(input={"second": 0, "label": {"text": "a"}}))
    chores.wait("workflowrun/pinned", "condition=Succeeded")


def test_given_decision_cannot_be_changed(chores: Scene) -> None:
    first = run_manifest("decided", suspend=True, decisions=[{"nodeKey": "approve", "action": "yes"}])
    chores.apply(first)

    other = run_manifest("decided", suspend=True, decisions=[{"nodeKey": "approve", "action": "no"}])

    assert "cannot be changed" in refusal(chores, other)
    chores.kubectl("delete", "workflowrun", "decided", "--timeout=20s")


def test_wrong_fields_are_refused_by_name(scene: Scene) -> None:
    misspelt = run_manifest("wrong", suspendd=True)
    crossed = chores_pool("wrong", scaling={"minReplicas": 5, "maxReplicas": 2})
    sourceless = run_manifest("wrong", blueprint={"version": "1"})
    timeless = run_manifest("wrong", deadline="1 hour")

    assert 'unknown field "spec.suspendd"' in refusal(scene, misspelt)
    assert "minReplicas must not be more than maxReplicas" in refusal(scene, crossed)
    assert "give exactly one of name, inline and configMapRef" in refusal(scene, sourceless)
    assert "spec.deadline" in refusal(scene, timeless)


@pytest.mark.parametrize("garbage", ["no json at all", '{"nodeId": "first"}', '["a", "list"]'])
def test_garbage_message_goes_to_the_poison_queue_with_its_reason(chores: Scene, garbage: str) -> None:
    queue = chores.queue("chores")
    chores.backend.send(queue, garbage)

    def poisoned() -> list[dict[str, object]]:
        return [each for each in chores.backend.poison(queue) if each["body"] == garbage]

    (found,) = until("the message in the poison queue", poisoned)
    assert found["reason"]


def test_blueprint_that_cannot_work_fails_its_run_with_what_is_wrong(chores: Scene) -> None:
    nodes = [{"id": "only", "uses": "chore"}]
    chores.run("dangling", blueprint={"inline": blueprint(nodes, [{"source": "only", "target": "nowhere"}])})
    circle = [{"source": "a", "target": "b"}, {"source": "b", "target": "a"}]
    both = [{"id": "a", "uses": "chore"}, {"id": "b", "uses": "chore"}]
    chores.run("circular", blueprint={"inline": blueprint(both, circle)})

    for name, wrong in (("dangling", "nowhere"), ("circular", "start")):
        chores.wait_phase(name, "Failed")
        summary = chores.condition(f"workflowrun/{name}", "Succeeded")
        assert summary["reason"] == "BlueprintInvalid"
        assert wrong in summary["message"]


def test_node_without_implementation_is_visible(chores: Scene) -> None:
    chores.run("unmade", blueprint={"inline": blueprint([{"id": "only", "uses": "nobody"}], [])})

    def reason() -> str | None:
        found = chores.condition("workflowrun/unmade", "Succeeded").get("reason")
        return found if found not in {None, "Pending", "Running"} else None

    until("a reason on the run", reason)
    assert "nobody" in chores.condition("workflowrun/unmade", "Succeeded")["message"]
    chores.kubectl("delete", "workflowrun", "unmade", "--timeout=20s")


def test_younger_pool_of_a_queue_that_has_one_is_not_ready(scene: Scene) -> None:
    scene.pool("elder")
    scene.wait("flowcraftworkerpool/elder", "condition=Ready")

    scene.apply(chores_pool("younger", backend={"queue": {"name": scene.queue("elder")}}))

    ready = scene.wait_reason("flowcraftworkerpool/younger", "Ready", "QueueConflict")
    assert ready["status"] == "False"
    assert "elder" in ready["message"]
    assert scene.condition("flowcraftworkerpool/elder", "Ready")["status"] == "True"

"""What a FlowcraftWorkerPool can meet in its life, on a real API server with real services."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.kubernetes.conftest import Scene, conditions
from tests.kubernetes.programs import until

pytestmark = [pytest.mark.cluster, pytest.mark.emulators, pytest.mark.timeout(240)]

WRONG_KEY = "d3JvbmcgYW5kIGxvbmcgZW5vdWdoIHRvIGJlIHRha2VuIGZvciBhIGtleSBvZiBhbiBhY2NvdW50Lg=="


def secret(scene: Scene, name: str, **values: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    scene.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))


def with_key(connection_string: str, key: str) -> str:
    parts = [part for part in connection_string.split(";") if part and not part.startswith("AccountKey=")]
    return ";".join([*parts, f"AccountKey={key}"])


async def test_wrong_credentials_are_told_and_put_right_without_a_restart(scene: Scene) -> None:
    operator = scene.operator()
    right = scene.environment["FLOWCRAFT_QUEUE_CONNECTION_STRING"]
    secret(scene, "azure", storage=with_key(right, WRONG_KEY))
    reference = {"secretKeyRef": {"name": "azure", "key": "storage"}}
    scene.pool(backend={"queue": {"connectionString": reference}})
    refused = await scene.condition("flowcraftworkerpool", "orders", "BackendReachable", "BackendRefused")
    assert refused["status"] == "False"
    assert WRONG_KEY not in refused["message"]
    scene.run("order")
    waiting = await scene.condition("workflowrun", "order", "Accepted", "BackendUnreachable")
    assert "denied" in waiting["message"] or "refuse" in waiting["message"]
    before = pod_settings(scene)
    secret(scene, "azure", storage=right)
    await scene.condition("flowcraftworkerpool", "orders", "BackendReachable", "Reachable")
    await scene.accepted("order")
    assert pod_settings(scene) != before
    assert operator.process is not None
    assert operator.process.poll() is None


def pod_settings(scene: Scene) -> str:
    """What makes the workers start anew when their settings change."""
    template = scene.get("deployment", "orders-workers")["spec"]["template"]
    return str(template["metadata"]["annotations"]["flowcraft.io/settings-hash"])


async def test_a_missing_secret_and_a_missing_queue_are_told_by_name(scene: Scene) -> None:
    scene.operator()
    reference = {"secretKeyRef": {"name": "nowhere", "key": "storage"}}
    scene.pool(backend={"queue": {"connectionString": reference}})
    missing = await scene.condition("flowcraftworkerpool", "orders", "Ready", "SecretNotFound")
    assert "Secret nowhere does not exist" in missing["message"]
    scene.pool("other")
    unprovisioned = await scene.condition("flowcraftworkerpool", "other", "Ready", "BackendRefused")
    assert "flowcraft provision" in unprovisioned["message"]
    queue = {"name": f"{scene.namespace}-orders"}
    scene.pool("third", backend={"queue": queue, "cosmos": {"contextContainer": "nowhere"}})
    container = await scene.condition("flowcraftworkerpool", "third", "BackendReachable", "BackendRefused")
    assert "container nowhere" in container["message"]
    assert "flowcraft provision" in container["message"]


async def test_a_secret_that_was_gone_for_a_while_is_found_again(scene: Scene) -> None:
    scene.operator()
    reference = {"secretKeyRef": {"name": "azure", "key": "storage"}}
    scene.pool(backend={"queue": {"connectionString": reference}})
    await scene.condition("flowcraftworkerpool", "orders", "Ready", "SecretNotFound")
    secret(scene, "azure", wrong="x")
    told = await until("the key", lambda: message_with(scene, "has no key storage"))
    assert "Secret azure" in told
    secret(scene, "azure", storage=scene.environment["FLOWCRAFT_QUEUE_CONNECTION_STRING"])
    await scene.condition("flowcraftworkerpool", "orders", "Ready", "Idle")


def message_with(scene: Scene, text: str) -> str:
    """The message of Ready, once it holds this text."""
    message = str(conditions(scene.get("fwp", "orders"))["Ready"]["message"])
    return message if text in message else ""


async def test_an_unreachable_backend_never_holds_up_a_deletion(scene: Scene) -> None:
    operator = scene.operator(FLOWCRAFT_DELETION_GRACE_S="3")
    scene.pool()
    scene.run("order")
    await scene.accepted("order")
    operator.stop()
    scene.environment["FLOWCRAFT_COSMOS_CONNECTION_STRING"] = (
        "AccountEndpoint=https://127.0.0.1:9/;AccountKey=" + WRONG_KEY
    )
    scene.operator(FLOWCRAFT_DELETION_GRACE_S="3")
    await scene.condition("workflowrun", "order", "Succeeded", "BackendUnreachable")
    assert scene.get("workflowrun", "order")["status"]["phase"] == "Running"
    scene.kubectl("delete", "workflowrun", "order", "--timeout=30s")
    await until("the event", lambda: "CancelNotDelivered" in scene.events("order"))


async def test_of_two_pools_with_one_queue_the_younger_waits_until_the_older_is_gone(scene: Scene) -> None:
    scene.operator()
    scene.pool("orders")
    await scene.condition("flowcraftworkerpool", "orders", "Ready", "Idle")
    # Ages are told apart by the second.
    await until(
        "another second", lambda: scene.get("fwp", "orders")["metadata"]["creationTimestamp"] != now(scene)
    )
    scene.pool("young", backend={"queue": {"name": f"{scene.namespace}-orders"}})
    conflict = await scene.condition("flowcraftworkerpool", "young", "Ready", "QueueConflict")
    assert f"{scene.namespace}/orders" in conflict["message"]
    scene.run("order", poolRef={"name": "young"})
    await scene.condition("workflowrun", "order", "Accepted", "PoolNotReady")
    assert conditions(scene.get("fwp", "orders"))["Ready"]["status"] == "True"
    scene.kubectl("delete", "flowcraftworkerpool", "orders", "--timeout=30s")
    await scene.condition("flowcraftworkerpool", "young", "ScalingActive", "FollowingQueue")
    await scene.accepted("order")


def now(scene: Scene) -> str:
    """The API server's time to the second."""
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "now-"}}
    answer = scene.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(probe))
    return str(json.loads(answer)["metadata"]["creationTimestamp"])


async def test_what_somebody_changes_in_the_deployment_is_put_right(scene: Scene) -> None:
    scene.operator()
    scene.pool(scaling={"minReplicas": 2})
    await until("two workers", lambda: scene.replicas() == 2)
    scene.kubectl("scale", "deployment", "orders-workers", "--replicas=5")
    await until("two workers again", lambda: scene.replicas() == 2)
    scene.pool(scaling={"minReplicas": 3}, image="example/shop:1.5.0")
    await until("three workers", lambda: scene.replicas() == 3)
    container = scene.get("deployment", "orders-workers")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "example/shop:1.5.0"


async def test_what_somebody_deletes_beside_the_deployment_comes_back(scene: Scene) -> None:
    scene.operator()
    scene.pool()
    await until("the Deployment", lambda: scene.get("deployment", "orders-workers"))
    kinds = ("secret", "serviceaccount")
    gone = {scene.get(kind, "orders-workers")["metadata"]["uid"] for kind in kinds}
    scene.kubectl("delete", ",".join(kinds), "orders-workers")

    def others() -> bool:
        found = {scene.get(kind, "orders-workers").get("metadata", {}).get("uid", "") for kind in kinds}
        return len(found) == 2 and not found & {*gone, ""}

    await until("others of their names", others)


async def test_what_a_pool_did_not_make_is_neither_overwritten_nor_deleted_with_it(scene: Scene) -> None:
    secret(scene, "orders-workers", own="kept")
    scene.operator()
    scene.pool()
    told = await scene.condition("flowcraftworkerpool", "orders", "Ready", "NameTaken")
    assert "Secret orders-workers exists and is not this pool's" in told["message"]
    scene.run("order")
    await scene.condition("workflowrun", "order", "Accepted", "PoolNotReady")
    found = scene.get("secret", "orders-workers")
    assert list(found["data"]) == ["own"]
    assert "ownerReferences" not in found["metadata"]
    scene.kubectl("delete", "secret", "orders-workers")
    await scene.condition("flowcraftworkerpool", "orders", "ScalingActive", "FollowingQueue")
    await scene.accepted("order")


async def test_a_quota_that_forbids_the_workers_is_told_on_pool_and_run(scene: Scene) -> None:
    hard = {"hard": {"count/deployments.apps": "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": hard}
    scene.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
    scene.kubectl(  # what the controller does that is not here
        "patch", "resourcequota", "none", "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": {**hard, "used": {"count/deployments.apps": "0"}}}),
    )  # fmt: skip
    scene.operator()
    scene.pool()
    told = await scene.condition("flowcraftworkerpool", "orders", "Ready", "WorkersNotCreated")
    assert "exceeded quota" in told["message"]
    scene.run("order")
    await scene.condition("workflowrun", "order", "Succeeded", "WorkersNotCreated")
    scene.kubectl("delete", "resourcequota", "none")
    await until("the Deployment", lambda: scene.replicas() == 1)


async def test_a_template_that_cannot_be_merged_is_told_and_others_go_on(scene: Scene) -> None:
    operator = scene.operator()
    scene.pool("broken", template={"spec": {"containers": [{"image": "no-name"}]}})
    scene.pool("refused", template={"spec": {"containers": [{"name": "worker", "image": ""}]}})
    scene.pool()
    told = await scene.condition("flowcraftworkerpool", "broken", "Ready", "InvalidTemplate")
    assert "template.spec.containers[0] must have name" in told["message"]
    await scene.condition("flowcraftworkerpool", "refused", "Ready", "InvalidTemplate")
    await scene.condition("flowcraftworkerpool", "orders", "Ready", "Idle")
    assert "Traceback" not in operator.text()


async def test_the_operators_own_defaults_reach_the_workers_through_a_secret(scene: Scene) -> None:
    scene.operator()
    scene.pool()
    await until("a Secret", lambda: scene.get("secret", "orders-workers"))
    deployment = await until("a Deployment", lambda: scene.get("deployment", "orders-workers"))
    spec = deployment["spec"]["template"]["spec"]
    entries = {each["name"]: each for each in spec["containers"][0]["env"]}
    reference = entries["FLOWCRAFT_COSMOS_CONNECTION_STRING"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "orders-workers", "key": "FLOWCRAFT_COSMOS_CONNECTION_STRING"}
    assert entries["FLOWCRAFT_COSMOS_DATABASE"]["value"] == scene.namespace
    assert entries["FLOWCRAFT_QUEUE"]["value"] == f"{scene.namespace}-orders"
    assert spec["automountServiceAccountToken"] is False
    owner = scene.get("secret", "orders-workers")["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("FlowcraftWorkerPool", "orders")


async def test_nothing_is_held_once_the_operator_was_uninstalled(scene: Scene) -> None:
    operator = scene.operator()
    scene.pool()
    scene.run("order")
    await scene.accepted("order")
    operator.stop()
    assert release(scene) == "finalizers taken off 2 objects\n"
    for kind, name in (("workflowrun", "order"), ("flowcraftworkerpool", "orders")):
        scene.kubectl("delete", kind, name, "--timeout=10s")


def release(scene: Scene) -> str:
    """What the chart's hook runs before the operator is uninstalled."""
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(scene.api.kubeconfig),
        "FLOWCRAFT_WATCH_NAMESPACES": scene.namespace,
    }
    command = [sys.executable, "-m", "flowcraft_operator.release"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout

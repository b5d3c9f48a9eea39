"""What a WorkflowRun can meet in its life, on a real API server with real services; workers are processes."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.kubernetes.conftest import Scene, conditions
from tests.kubernetes.programs import until

from flowcraft.clock import SystemClock
from flowcraft_api.wire import HeaderDocument
from flowcraft_operator.wiring import AzureBackends, Backend

pytestmark = [pytest.mark.cluster, pytest.mark.emulators, pytest.mark.timeout(240)]

INLINE = {
    "id": "parcel",
    "nodes": [{"id": "charge", "uses": "charge"}, {"id": "ship", "uses": "ship"}],
    "edges": [{"source": "charge", "target": "ship", "action": "approved"}],
    "metadata": {"version": "7"},
}


def backend_of(scene: Scene) -> Backend:
    """The scene's services, seen from beside the operator."""
    settings = {**scene.environment, "FLOWCRAFT_QUEUE": f"{scene.namespace}-orders"}
    return AzureBackends().open(settings, SystemClock())


async def header_of(scene: Scene, run_id: str) -> HeaderDocument:
    backend = backend_of(scene)
    try:
        return await backend.client.header(run_id)
    finally:
        await backend.close()


async def test_a_run_waits_for_its_pool_and_goes_on_when_it_appears(scene: Scene) -> None:
    scene.operator()
    scene.run("early")
    found = await scene.condition("workflowrun", "early", "Accepted", "PoolNotFound")
    assert found["status"] == "False"
    assert "orders" in found["message"]
    assert not scene.get("workflowrun", "early")["metadata"].get("finalizers")
    scene.worker(f"{scene.namespace}-orders")
    scene.pool()
    await scene.phase("early", "Succeeded")


async def test_the_same_manifest_twice_is_one_run_and_deleted_and_applied_again_a_new_one(
    scene: Scene,
) -> None:
    scene.operator()
    scene.worker(f"{scene.namespace}-orders")
    scene.pool()
    scene.run("order")
    first = await scene.phase("order", "Succeeded")
    scene.run("order")
    assert scene.get("workflowrun", "order")["status"] == first["status"]
    scene.kubectl("delete", "workflowrun", "order", "--timeout=20s")
    scene.run("order")
    again = await scene.phase("order", "Succeeded")
    assert again["status"]["runId"] != first["status"]["runId"]


async def test_a_decision_given_early_waits_for_its_node(scene: Scene) -> None:
    scene.operator()
    scene.worker(f"{scene.namespace}-orders")
    scene.pool()
    decision = {"nodeKey": "approve", "action": "approved", "output": {"by": "ada"}}
    scene.run("large", input={"amount": 2000}, decisions=[decision])
    run = await scene.phase("large", "Succeeded")
    assert run["status"]["output"]["ship"]["after"] == {"by": "ada"}
    assert "Decided" in scene.events("large")


async def test_a_waiting_run_shows_what_it_waits_for_and_goes_on_when_decided(scene: Scene) -> None:
    scene.operator()
    scene.worker(f"{scene.namespace}-orders")
    scene.pool()
    scene.run("large", input={"amount": 2000})
    waiting = await scene.phase("large", "Awaiting")
    assert [(each["nodeKey"], each["kind"]) for each in waiting["status"]["awaiting"]] == [
        ("approve", "wait")
    ]
    misspelt = {"nodeKey": "aprove", "action": "approved"}
    scene.run("large", input={"amount": 2000}, decisions=[misspelt])
    told = await scene.condition("workflowrun", "large", "Succeeded", "UnknownDecision")
    assert "has no node 'aprove'; did you mean 'approve'?" in told["message"]
    right = {"nodeKey": "approve", "action": "approved"}
    scene.run("large", input={"amount": 2000}, decisions=[misspelt, right])
    await scene.phase("large", "Succeeded")
    assert "UnknownDecision" in scene.events("large")


async def test_a_run_is_suspended_and_resumed(scene: Scene) -> None:
    scene.operator()
    scene.pool()
    scene.run("order", suspend=True)
    await scene.phase("order", "Suspended")
    scene.worker(f"{scene.namespace}-orders")
    scene.run("order", suspend=False)
    await scene.phase("order", "Succeeded")


async def test_a_run_is_cancelled_and_setting_it_back_changes_nothing(scene: Scene) -> None:
    scene.operator()
    scene.pool()
    scene.run("order")
    await scene.accepted("order")
    scene.run("order", cancel=True)
    cancelled = await scene.phase("order", "Cancelled")
    assert conditions(cancelled)["Succeeded"]["reason"] == "Cancelled"
    scene.run("order", cancel=False)

    def seen() -> bool:
        run = scene.get("workflowrun", "order")
        return bool(run["status"]["observedGeneration"] == run["metadata"]["generation"])

    await until("the change is seen", seen)
    assert scene.get("workflowrun", "order")["status"]["phase"] == "Cancelled"


async def test_a_run_cancelled_before_it_could_start_never_starts(scene: Scene) -> None:
    scene.operator()
    scene.run("order", cancel=True)
    await scene.phase("order", "Cancelled")
    scene.pool()
    await scene.condition("flowcraftworkerpool", "orders", "Ready", "Idle")
    assert scene.get("workflowrun", "order")["status"]["phase"] == "Cancelled"


async def test_inline_blueprints_and_those_of_config_maps_run(scene: Scene) -> None:
    scene.operator()
    scene.worker(f"{scene.namespace}-orders")
    scene.pool()
    scene.run("inline", blueprint={"inline": INLINE})
    scene.run("mapped", blueprint={"configMapRef": {"name": "flows", "key": "parcel.json"}})
    inline = await scene.phase("inline", "Succeeded")
    assert inline["status"]["blueprint"]["name"] == "parcel"
    assert inline["status"]["blueprint"]["version"] == "7"
    missing = await scene.condition("workflowrun", "mapped", "Accepted", "BlueprintNotFound")
    assert "ConfigMap flows does not exist" in missing["message"]
    scene.kubectl("create", "configmap", "flows", f"--from-literal=parcel.json={json.dumps(INLINE)}")
    await scene.phase("mapped", "Succeeded")


async def test_an_invalid_blueprint_fails_visibly_and_others_go_on(scene: Scene) -> None:
    scene.operator()
    scene.worker(f"{scene.namespace}-orders")
    scene.pool()
    broken = {**INLINE, "edges": [{"source": "charge", "target": "nowhere"}]}
    scene.run("broken", blueprint={"inline": broken})
    scene.run("unknown", blueprint={"name": "no-such-flow"})
    scene.run("good")
    failed = await scene.phase("broken", "Failed")
    assert conditions(failed)["Accepted"]["status"] == "False"
    assert conditions(failed)["Accepted"]["reason"] == "BlueprintInvalid"
    assert "nowhere" in conditions(failed)["Succeeded"]["message"]
    assert not failed["metadata"].get("finalizers") or await until(
        "no finalizer", lambda: not scene.get("workflowrun", "broken")["metadata"].get("finalizers")
    )
    await scene.phase("good", "Succeeded")
    unknown = await scene.condition("workflowrun", "unknown", "Succeeded", "BlueprintUnknown")
    assert "no-such-flow" in unknown["message"]


async def test_an_input_over_the_limit_is_refused_with_its_size(scene: Scene) -> None:
    scene.operator()
    scene.pool()
    manifest = {
        "apiVersion": "flowcraft.io/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": "huge"},
        "spec": {
            "poolRef": {"name": "orders"},
            "blueprint": {"name": "order"},
            "input": {"text": "x" * (1024 * 1024 + 1)},
        },
    }
    scene.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    failed = await scene.phase("huge", "Failed")
    assert conditions(failed)["Accepted"]["reason"] == "InputTooLarge"


async def test_a_changed_input_that_the_definition_misses_is_ignored_and_told(scene: Scene) -> None:
    scene.operator()
    scene.pool()
    scene.run("order", suspend=True)
    await scene.phase("order", "Suspended")
    renamed = json.dumps({"spec": {"input": {"amount": None, "total": 42}}})
    scene.kubectl("patch", "workflowrun", "order", "--type=merge", "-p", renamed)
    told = await scene.condition("workflowrun", "order", "Accepted", "SpecChangeIgnored")
    assert "spec.input" in told["message"]
    scene.worker(f"{scene.namespace}-orders")
    scene.kubectl("patch", "workflowrun", "order", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    done = await scene.phase("order", "Succeeded")
    assert done["status"]["output"]["ship"]["after"] == {"paid": 42}


async def test_deleting_a_run_cancels_it(scene: Scene) -> None:
    scene.operator()
    scene.pool()
    run_id = scene.run("order")["metadata"]["uid"]
    await scene.accepted("order")
    scene.kubectl("delete", "workflowrun", "order", "--timeout=20s")
    assert (await header_of(scene, run_id))["status"] == "cancelled"


async def test_an_operator_that_is_killed_misses_nothing(scene: Scene) -> None:
    operator = scene.operator()
    scene.pool()
    scene.run("before")
    await scene.accepted("before")
    operator.kill()
    scene.worker(f"{scene.namespace}-orders")
    scene.run("meanwhile")
    run_id = scene.get("workflowrun", "before")["status"]["runId"]
    for _ in range(100):
        if (await header_of(scene, run_id))["status"] == "completed":
            break
        await asyncio.sleep(0.2)
    assert scene.get("workflowrun", "before")["status"]["phase"] == "Running"
    scene.operator()
    await scene.phase("before", "Succeeded")
    await scene.phase("meanwhile", "Succeeded")


async def test_a_run_whose_facts_are_gone_is_not_started_again(scene: Scene) -> None:
    """Deleted by hand or by retention while the operator was away: it may have run to its end."""
    operator = scene.operator()
    scene.pool()
    scene.run("order", suspend=True)
    run_id = (await scene.phase("order", "Suspended"))["status"]["runId"]
    operator.stop()
    backend = backend_of(scene)
    await backend.client.facts.purge(run_id)
    await backend.close()
    scene.operator()
    await scene.condition("workflowrun", "order", "Succeeded", "FactsNotFound")
    assert scene.get("workflowrun", "order")["status"]["phase"] == "Suspended"


async def test_an_api_server_that_hangs_for_a_while_is_waited_out(scene: Scene) -> None:
    operator = scene.operator()
    scene.pool()
    scene.run("order")
    run_id = (await scene.accepted("order"))["status"]["runId"]
    scene.api.pause()
    try:
        scene.worker(f"{scene.namespace}-orders")
        for _ in range(300):
            if (await header_of(scene, run_id))["status"] == "completed":
                break
            await asyncio.sleep(0.2)
        assert operator.answers("/livez")
    finally:
        scene.api.go_on()
    await scene.phase("order", "Succeeded")

"""The shop example on the cluster, as its README tells a user to go about it."""

from __future__ import annotations

import json

import pytest
from tests.cluster.local_cluster import until
from tests.kubernetes.e2e.scene import SHOP, Scene, example

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

RUN_COLUMNS = ["NAME", "POOL", "BLUEPRINT", "STATUS", "PROGRESS", "DURATION", "AGE"]
POOL_COLUMNS = ["NAME", "READY", "REPLICAS", "DESIRED", "QUEUE", "RUNNING", "AGE"]


def test_pool_goes_from_zero_to_workers_and_back_and_its_run_succeeds(shop: Scene) -> None:
    pool = "flowcraftworkerpool/orders"
    until("the pool at rest", lambda: shop.status(pool).get("replicas") == 0)
    assert not shop.worker_pods("orders")

    shop.kubectl("apply", "-f", str(SHOP / "run.yaml"))
    shop.wait(pool, "jsonpath={.status.replicas}=1")
    shop.wait("workflowrun/order-1001", "condition=Succeeded")

    heading, row = shop.table("workflowruns", "order-1001")
    assert heading == RUN_COLUMNS
    assert row[:5] == ["order-1001", "orders", "order", "Succeeded", "4/4"]
    shop.wait(pool, "jsonpath={.status.replicas}=0")
    heading, row = shop.table("flowcraftworkerpools", "orders")
    assert heading == POOL_COLUMNS
    assert row[:6] == ["orders", "True", "0", "0", "0", "0"]
    until("no worker pod", lambda: not shop.worker_pods("orders"))


def test_orders_take_every_way_through_the_flow(shop: Scene) -> None:
    shop.apply(*example("runs.yaml"))

    shipped = shop.wait_phase("order-1001", "Succeeded")
    refunded = shop.wait_phase("order-1002", "Succeeded")
    waiting = shop.wait_phase("order-1003", "Awaiting")
    failed = shop.wait_phase("order-1004", "Failed")

    assert list(shipped["output"]) == ["ship"]
    assert refunded["output"] == {"refund": {"refunded": 0}}
    assert waiting["awaiting"][0]["nodeKey"] == "approve"
    assert "the amount must not be negative" in failed["failures"][0]["error"]
    summary = shop.condition("workflowrun/order-1004", "Succeeded")
    assert (summary["status"], summary["reason"]) == ("False", "NodeFailed")
    assert "the amount must not be negative" in summary["message"]
    assert shop.condition("workflowrun/order-1004", "Finished")["status"] == "True"

    # A pool whose runs all wait needs no worker; the decision brings one back.
    shop.wait("flowcraftworkerpool/orders", "jsonpath={.status.replicas}=0")
    _, row = shop.table("workflowruns", "order-1003")
    assert row[:5] == ["order-1003", "orders", "order", "Awaiting", "2/4"]
    decision = {"nodeKey": "approve", "action": "approved", "output": {"by": "ada"}}
    shop.patch("order-1003", decisions=[decision])

    approved = shop.wait_phase("order-1003", "Succeeded")
    assert approved["output"]["ship"]["after"] == {"by": "ada"}
    assert approved["progress"] == "4/4"


def test_kubectl_scale_sets_how_many_workers_stay(shop: Scene) -> None:
    pool = "flowcraftworkerpool/orders"

    shop.kubectl("scale", pool, "--replicas=2")
    shop.wait(pool, "jsonpath={.status.readyReplicas}=2")
    shop.kubectl("scale", pool, "--replicas=0")

    shop.wait(pool, "jsonpath={.status.replicas}=0")


def test_blueprint_may_come_with_the_run_or_from_a_config_map(shop: Scene) -> None:
    own = {"id": "refund-only", "nodes": [{"id": "refund", "uses": "refund"}], "edges": [], "metadata": {}}
    data = {"refund.json": json.dumps(own)}
    shop.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "blueprints"}, "data": data})
    sources = {
        "inline": {"inline": own},
        "kept": {"configMapRef": {"name": "blueprints", "key": "refund.json"}},
    }

    for name, source in sources.items():
        (order,) = example("run.yaml")
        order["metadata"]["name"] = f"order-{name}"
        order["spec"] |= {"blueprint": source, "input": {"paid": 7}}
        shop.apply(order)

    for name in sources:
        assert shop.wait_phase(f"order-{name}", "Succeeded")["output"] == {"refund": {"refunded": 7}}


def test_decision_given_early_waits_for_its_node(shop: Scene) -> None:
    (order,) = example("run.yaml")
    order["metadata"]["name"] = "order-decided"
    order["spec"]["input"] = {"amount": 2000}
    order["spec"]["decisions"] = [{"nodeKey": "approve", "action": "approved", "output": {"by": "eve"}}]

    shop.apply(order)

    assert shop.wait_phase("order-decided", "Succeeded")["output"]["ship"]["after"] == {"by": "eve"}


def test_manifest_applied_twice_is_one_run_and_deleted_and_applied_is_another(shop: Scene) -> None:
    (order,) = example("run.yaml")
    order["metadata"]["name"] = "order-twice"

    shop.apply(order)
    first = shop.wait_phase("order-twice", "Succeeded")
    shop.apply(order)
    again = shop.wait_phase("order-twice", "Succeeded")
    shop.kubectl("delete", "workflowrun", "order-twice", "--timeout=20s")
    shop.apply(order)
    anew = shop.wait_phase("order-twice", "Succeeded")

    assert again == first
    assert first["runId"] != anew["runId"] == shop.run_id("order-twice")
    assert shop.backend.run_status(first["runId"]) == "completed"

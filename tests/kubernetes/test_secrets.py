"""Marker secrets that do not work: no object but a Secret, no event, no log has them."""

from __future__ import annotations

import base64
import json

import pytest
from tests.kubernetes.conftest import Scene, conditions
from tests.kubernetes.programs import until

pytestmark = [pytest.mark.cluster, pytest.mark.emulators, pytest.mark.timeout(240)]

MARKER = base64.b64encode(b"a marker that nobody but a Secret may tell").decode()
SHOWN = "flowcraftworkerpools,workflowruns,deployments,replicasets,events,configmaps,serviceaccounts,leases"


def reference(key: str) -> dict[str, object]:
    return {"secretKeyRef": {"name": "azure", "key": key}}


async def test_a_secret_that_does_not_work_is_told_by_name_and_never_by_value(scene: Scene) -> None:
    given = scene.environment
    storage = [part for part in given["FLOWCRAFT_QUEUE_CONNECTION_STRING"].split(";") if part]
    wrong = {
        "storage": ";".join(
            [*(p for p in storage if not p.startswith("AccountKey=")), f"AccountKey={MARKER}"]
        ),
        "cosmos": f"{given['FLOWCRAFT_COSMOS_CONNECTION_STRING'].split(';')[0]};AccountKey={MARKER};",
        "redis": f"redis://nobody:{MARKER}@127.0.0.1:9/0",
        "nonsense": f"AccountName=a;AccountKee={MARKER}",
    }
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "azure"}, "stringData": wrong}
    scene.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    operator = scene.operator()
    scene.pool("storage", backend={"queue": {"connectionString": reference("storage")}})
    scene.pool("nonsense", backend={"queue": {"connectionString": reference("nonsense")}})
    scene.pool("cosmos", backend={"cosmos": {"connectionString": reference("cosmos")}})
    scene.pool("redis", backend={"redis": {"url": reference("redis")}})
    for name in wrong:
        scene.run(f"order-{name}", poolRef={"name": name})

    def told() -> bool:
        pools = (conditions(scene.get("fwp", name)) for name in ("storage", "nonsense", "cosmos"))
        return all(each.get("Ready", {}).get("status") == "False" for each in pools)

    await until("what is wrong with the pools", told, 60.0)
    await scene.condition("workflowrun", "order-cosmos", "Accepted", "BackendUnreachable")
    shown = scene.kubectl("get", SHOWN, "-o", "json") + operator.text()
    assert "order-storage" in shown
    assert MARKER not in shown
    assert base64.b64encode(MARKER.encode()).decode() not in shown

"""The chart's roles are enough for the operator, and the API server holds it to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.rendering import NAMESPACE, helm, of_kind, render
from tests.kubernetes.conftest import Scene
from tests.kubernetes.programs import operator_program, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.emulators,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        helm() is None, reason="no helm: `make cluster` builds it once; or set FLOWCRAFT_HELM"
    ),
]


def with_rights(scene: Scene, values: dict[str, Any]) -> Path:
    """A kubeconfig of the operator's own service account, with the rights of the chart and no others."""
    objects = render(values)
    kinds = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    rights = [each for kind in kinds for each in of_kind(objects, kind)]
    scene.api.kubectl("create", "namespace", NAMESPACE, check=False)
    scene.api.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(rights))
    account = of_kind(objects, "ServiceAccount")[0]["metadata"]["name"]
    token = scene.api.kubectl("create", "token", account, "--namespace", NAMESPACE).stdout.strip()
    configuration = json.loads(scene.api.kubeconfig.read_text())
    configuration["users"][0]["user"] = {"token": token}
    kubeconfig = scene.folder / "operator.kubeconfig"
    kubeconfig.write_text(json.dumps(configuration))
    return kubeconfig


@pytest.mark.parametrize("namespaced", [True, False])
async def test_a_run_goes_its_way_with_the_rights_of_the_chart(scene: Scene, *, namespaced: bool) -> None:
    values = {"watchNamespaces": [scene.namespace]} if namespaced else {}
    kubeconfig = with_rights(scene, values)
    watched = {"FLOWCRAFT_WATCH_NAMESPACES": scene.namespace} if namespaced else {}
    given = {**scene.environment, **watched, "FLOWCRAFT_STATUS_POLL_S": "1"}
    operator = operator_program(kubeconfig, scene.folder, given).start()
    scene.programs.append(operator)
    scene.worker(f"{scene.namespace}-orders")
    secret = {"FLOWCRAFT": scene.environment["FLOWCRAFT_QUEUE_CONNECTION_STRING"]}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "azure"}, "stringData": secret}
    scene.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    reference = {"secretKeyRef": {"name": "azure", "key": "FLOWCRAFT"}}
    scene.pool(backend={"queue": {"connectionString": reference}})
    scene.run("order")
    await scene.phase("order", "Succeeded")
    scene.run("mapped", blueprint={"configMapRef": {"name": "none", "key": "none"}})
    await scene.condition("workflowrun", "mapped", "Accepted", "BlueprintNotFound")
    assert scene.events("order")
    scene.kubectl("delete", "workflowrun,flowcraftworkerpool", "--all", "--timeout=60s")
    assert "forbidden" not in operator.text().lower(), operator.text()


async def test_a_namespace_without_rights_harms_no_other(scene: Scene) -> None:
    # An account of its own: that of other tests may look after all namespaces.
    values = {"watchNamespaces": [scene.namespace], "fullnameOverride": "of-one-namespace"}
    kubeconfig = with_rights(scene, values)
    given = {
        **scene.environment,
        "FLOWCRAFT_WATCH_NAMESPACES": f"{scene.namespace},gone-meanwhile",
        "FLOWCRAFT_STATUS_POLL_S": "1",
    }
    operator = operator_program(kubeconfig, scene.folder, given).start()
    scene.programs.append(operator)
    scene.pool()
    scene.run("order")
    await scene.accepted("order")
    await until("a second try", lambda: operator.text().count("gone-meanwhile/workflowruns") > 1)
    # Were their number known, the last one would end the operator.
    assert "attempt #1 failed; will retry" in operator.text()
    operator.stop()
    released = release(kubeconfig, given)
    assert released.stdout == "finalizers taken off 2 objects\n"
    assert "namespace gone-meanwhile is left out" in released.stderr


def release(kubeconfig: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What the chart's hook runs before the operator is uninstalled."""
    environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), **settings}
    command = [sys.executable, "-m", "flowcraft_operator.release"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)

"""The images start under the strictest Pod Security, on a read-only root, and reach servers beside them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.local_cluster import LocalCluster
from tests.emulators.stand_ins import StandIns

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def run_once(image: str, *command: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "once"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "once",
                    "image": image,
                    "command": list(command),
                    "securityContext": {
                        "readOnlyRootFilesystem": True,
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def output_of(cluster: LocalCluster, namespace: str, image: str, *command: str) -> str:
    cluster.apply(run_once(image, *command), namespace=namespace)
    ended = "jsonpath={.status.containerStatuses[0].state.terminated.reason}"
    cluster.wait("pod/once", ended, namespace=namespace)
    return cluster.kubectl("logs", "once", "-n", namespace)


@pytest.mark.parametrize(
    ("image", "imported"),
    [
        ("localhost/flowcraft-worker:dev", "flowcraft, flowcraft_api, flowcraft_azure, flowcraft_cli"),
        ("localhost/flowcraft-operator:dev", "kopf, flowcraft_operator"),
        ("localhost/flowcraft-shop:dev", "shop.flows"),
        ("example/shop:1.4.0", "shop.flows"),
    ],
)
def test_image_has_its_packages_and_runs_as_no_root(
    cluster: LocalCluster, namespace: str, image: str, imported: str
) -> None:
    program = f"import os, {imported}; print(os.getuid())"

    assert output_of(cluster, namespace, image, "python3", "-c", program) == "65532\n"


def test_worker_image_has_the_command_on_its_path(cluster: LocalCluster, namespace: str) -> None:
    said = output_of(cluster, namespace, "localhost/flowcraft-worker:dev", "flowcraft", "--help")

    assert "worker" in said


def test_pod_reaches_a_stand_in_by_a_service_name(
    cluster: LocalCluster, namespace: str, stand_ins: StandIns
) -> None:
    port = int(stand_ins.redis_connection_string.rpartition(":")[2].partition("/")[0])
    name = cluster.expose("coordination", {"redis": port}, namespace=namespace)
    program = f"import redis; print(redis.Redis('{name}', {port}).ping())"

    said = output_of(cluster, namespace, "localhost/flowcraft-worker:dev", "python3", "-c", program)

    assert said == "True\n"

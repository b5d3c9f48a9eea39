"""The operator on a cluster, by helm and the project's own chart and image."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.local_cluster import LocalCluster
from tests.emulators.stand_ins import StandIns

CHART = Path(__file__).parents[2] / "charts" / "flowcraft-operator"
NAMESPACE = "flowcraft-system"
RELEASE = "flowcraft-operator"
IMAGE = {"repository": "localhost/flowcraft-operator", "tag": "dev", "pullPolicy": "Never"}
_INSTALL_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class OperatorRelease:
    """One release of the chart.

    Attributes:
        cluster: Where.
        connections: What pools use that name no backend of their own.
    """

    cluster: LocalCluster
    connections: StandIns

    def install(self) -> str:
        """`helm upgrade --install`, and wait until the operator is ready; returns helm's notes."""
        values = {
            "image": IMAGE,
            "backend": {
                "queue": {"connectionString": self.connections.azure_storage_connection_string},
                "cosmos": {"connectionString": self.connections.cosmos_connection_string},
                "redis": {"url": self.connections.redis_connection_string},
            },
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            release = ("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE)
            wait = ("--create-namespace", "--wait", f"--timeout={_INSTALL_TIMEOUT_S}s")
            return self.cluster.helm(
                *release, *wait, "--values", file.name, timeout_s=_INSTALL_TIMEOUT_S + 15
            )

    def uninstall(self) -> None:
        """`helm uninstall`, which runs the chart's hook; the definitions stay."""
        wait = ("--wait", f"--timeout={_INSTALL_TIMEOUT_S}s")
        self.cluster.helm(
            "uninstall", RELEASE, "--namespace", NAMESPACE, *wait, timeout_s=_INSTALL_TIMEOUT_S + 15
        )

    def pod(self) -> Mapping[str, Any]:
        """The operator's pod."""
        labels = f"app.kubernetes.io/instance={RELEASE}"
        pods = self.cluster.get("pods", "-l", labels, namespace=NAMESPACE)["items"]
        found: Mapping[str, Any] = next(pod for pod in pods if not pod["metadata"].get("deletionTimestamp"))
        return found

    def logs(self, lines: int = 200) -> str:
        """The last lines of the operator's log."""
        return self.cluster.kubectl("logs", f"deployment/{RELEASE}", "-n", NAMESPACE, f"--tail={lines}")

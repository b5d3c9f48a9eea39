"""A namespace with pools and runs, in the words of the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.local_cluster import LocalCluster, until
from tests.kubernetes.e2e.backend import Backend

SHOP = Path(__file__).parents[3] / "examples" / "shop"
API_VERSION = "flowcraft.io/v1alpha1"
CHORES_IMAGE = "localhost/flowcraft-chores:dev"
WORK_TIMEOUT_S = 60
"""Enough for a worker to start from nothing and for every run of these tests, on two busy cores."""
REDELIVERY_S = 4
"""How long a message stays hidden that a killed worker held."""


def example(name: str) -> list[dict[str, Any]]:
    """The manifests of one file of examples/shop."""
    return [document for document in yaml.safe_load_all((SHOP / name).read_text()) if document]


@dataclass(frozen=True, slots=True)
class Scene:
    """One namespace of the cluster that the operator looks after.

    Attributes:
        cluster: The cluster.
        namespace: The namespace.
        backend: The services behind its pools.
    """

    cluster: LocalCluster
    namespace: str
    backend: Backend

    def kubectl(self, *arguments: str, stdin: str = "", timeout_s: float = 60) -> str:
        """kubectl in this namespace."""
        return self.cluster.kubectl(*arguments, "-n", self.namespace, stdin=stdin, timeout_s=timeout_s)

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """`kubectl apply`."""
        self.cluster.apply(*manifests, namespace=self.namespace)

    def queue(self, pool: str) -> str:
        """The name of the queue of a pool that names none."""
        return f"{self.namespace}-{pool}"

    def pool(self, name: str, **spec: Any) -> None:
        """Apply a pool of slow workers whose messages come back soon, with its queue provisioned."""
        self.backend.provision(self.queue(name))
        self.apply(chores_pool(name, **spec))

    def run(self, name: str, **spec: Any) -> str:
        """Apply a run, by default of slow work that takes three times `seconds`, and return its id."""
        self.apply(run_manifest(name, **spec))
        return self.run_id(name)

    def run_id(self, name: str) -> str:
        """The id of a run: the uid of its resource."""
        return self.kubectl("get", "workflowrun", name, "-o", "jsonpath={.metadata.uid}")

    def patch(self, name: str, **spec: Any) -> None:
        """`kubectl patch` a run's spec."""
        self.kubectl("patch", "workflowrun", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def status(self, resource: str) -> dict[str, Any]:
        """The status of an object (`kind/name`); empty while there is none."""
        found: dict[str, Any] = self.cluster.get(resource, namespace=self.namespace).get("status", {})
        return found

    def condition(self, resource: str, kind: str) -> Mapping[str, str]:
        """One condition of an object; empty while there is none."""
        conditions = self.status(resource).get("conditions", ())
        return next((each for each in conditions if each["type"] == kind), {})

    def wait(self, resource: str, condition: str, timeout_s: float = WORK_TIMEOUT_S) -> None:
        """`kubectl wait --for=…`."""
        self.cluster.wait(resource, condition, namespace=self.namespace, timeout_s=timeout_s)

    def wait_phase(self, run: str, phase: str, timeout_s: float = WORK_TIMEOUT_S) -> dict[str, Any]:
        """Wait until a run is in a phase; returns its status."""
        self.wait(f"workflowrun/{run}", f"jsonpath={{.status.phase}}={phase}", timeout_s)
        return self.status(f"workflowrun/{run}")

    def wait_reason(
        self, resource: str, kind: str, reason: str, timeout_s: float = WORK_TIMEOUT_S
    ) -> Mapping[str, str]:
        """Wait until a condition has a reason; returns the condition."""

        def look() -> Mapping[str, str] | None:
            found = self.condition(resource, kind)
            return found if found.get("reason") == reason else None

        return until(f"{kind} of {resource} with reason {reason}", look, timeout_s=timeout_s)

    def wait_finished_node(self, run_id: str, node: str, timeout_s: float = WORK_TIMEOUT_S) -> None:
        """Wait until a node of a run has ended: then the ones behind it are at work."""
        until(
            f"node {node} of run {run_id}",
            lambda: node in self.backend.finished_nodes(run_id),
            timeout_s=timeout_s,
        )

    def table(self, resource: str, *names: str) -> list[list[str]]:
        """What `kubectl get` prints, cell by cell, its heading first; no cell may be empty."""
        printed = self.kubectl("get", resource, *names)
        return [line.split() for line in printed.splitlines()]

    def worker_pods(self, pool: str) -> Sequence[str]:
        """The names of a pool's pods that are not being deleted."""
        pods = self.cluster.get("pods", "-l", f"flowcraft.io/pool={pool}", namespace=self.namespace)["items"]
        return [str(pod["metadata"]["name"]) for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def kill_workers(self, pool: str) -> Sequence[str]:
        """Take a pool's pods away at once, as a lost node would; returns their names."""
        names = self.worker_pods(pool)
        assert names, f"pool {pool} has no pod to kill"
        self.kubectl("delete", "pod", *names, "--force", "--grace-period=0", "--wait=false")
        return names


def chores_pool(name: str, **spec: Any) -> dict[str, Any]:
    """The manifest of a pool of slow workers; `spec` adds fields and replaces them."""
    worker = {
        "name": "worker",
        "env": [
            {"name": "FLOWCRAFT_VISIBILITY_TIMEOUT_S", "value": str(REDELIVERY_S)},
            {"name": "FLOWCRAFT_DRAIN_S", "value": "5"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
    }
    given = {
        "image": CHORES_IMAGE,
        "app": "chores.flows:app",
        "concurrency": 4,
        "scaling": {"minReplicas": 0, "maxReplicas": 1, "pollInterval": "1s", "cooldown": "60s"},
        "template": {"spec": {"containers": [worker]}},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "FlowcraftWorkerPool",
        "metadata": {"name": name},
        "spec": given | spec,
    }


def run_manifest(name: str, *, seconds: float = 1, **spec: Any) -> dict[str, Any]:
    """The manifest of a run of slow work."""
    given = {
        "poolRef": {"name": "chores"},
        "blueprint": {"name": "house", "version": "1"},
        "input": {"seconds": seconds},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowRun",
        "metadata": {"name": name},
        "spec": given | spec,
    }

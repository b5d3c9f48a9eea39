"""The cluster as tests see it: kubectl, helm, and servers beside it that pods reach by a name.

Tests run in the cluster's network, by ``tests/cluster/cluster exec .venv/bin/pytest -m cluster``. There they
reach the API server, pods, Services and stand-ins directly. With kind that is the machine's own network.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.cluster.local_kubernetes.beside import service_beside
from tests.cluster.local_kubernetes.settings import ADDRESS_VARIABLE
from tests.emulators.stand_ins import Addresses, RunningStandIns, StandIns

_SLACK_S = 15
"""How much longer than kubectl's own timeout its process may take."""

_LOOK_EVERY_S = 0.3
"""A look is mostly a kubectl process: 0.1 s of the processor."""

Manifest = Mapping[str, Any]
T = TypeVar("T")


class ClusterCommandError(Exception):
    """kubectl or helm failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A running cluster.

    Attributes:
        host_address: How pods reach a server that a test started.
    """

    host_address: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> LocalCluster:
        """The cluster that this process was started in.

        Raises:
            ClusterCommandError: It was not started by `cluster exec`.
        """
        address = environment.get(ADDRESS_VARIABLE)
        if not address:
            raise ClusterCommandError(
                "no cluster here: run `make e2e`, or pytest by tests/cluster/cluster exec"
            )
        return cls(address)

    def kubectl(self, *arguments: str, stdin: str = "", timeout_s: float = 60) -> str:
        """Run kubectl and return its output.

        Raises:
            ClusterCommandError: It failed, or took longer than `timeout_s`.
        """
        return _run(["kubectl", *arguments], stdin, timeout_s)

    def helm(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run helm and return its output.

        Raises:
            ClusterCommandError: It failed, or took longer than `timeout_s`.
        """
        return _run(["helm", *arguments], "", timeout_s)

    def apply(self, *manifests: Manifest, namespace: str = "default") -> None:
        """Apply objects as a user would.

        Raises:
            ClusterCommandError: The API server refused one.
        """
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=items)

    def get(self, resource: str, *arguments: str, namespace: str = "default") -> dict[str, Any]:
        """An object (`kind/name`), or a list of them (`kind`, with any selector), as JSON."""
        document: dict[str, Any] = json.loads(
            self.kubectl("get", resource, "-n", namespace, "-o", "json", *arguments)
        )
        return document

    def wait(
        self, resource: str, condition: str, *, namespace: str = "default", timeout_s: float = 60
    ) -> None:
        """Wait until a condition holds, in the words of ``kubectl wait --for``.

        Raises:
            ClusterCommandError: It did not, in time.
        """
        limit = f"--timeout={timeout_s:g}s"
        arguments = ("wait", resource, f"--for={condition}", "-n", namespace, limit)
        self.kubectl(*arguments, timeout_s=timeout_s + _SLACK_S)

    @contextmanager
    def namespace(self, prefix: str = "test", **labels: str) -> Iterator[str]:
        """A namespace of its own, deleted at the end without waiting for it."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}
        )
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    @contextmanager
    def stand_ins(self) -> Iterator[StandIns]:
        """Stand-ins for the Azure services, reachable alike from the test and from pods."""
        address = self.host_address
        running = RunningStandIns(Addresses(bind_host=address, advertised_host=address, cosmos_scheme="http"))
        try:
            yield running.connections
        finally:
            running.stop()

    def expose(self, name: str, ports: Mapping[str, int], *, namespace: str = "default") -> str:
        """Give a server beside the cluster a Service, so that pods reach it by a name.

        Args:
            name: The Service's name.
            ports: Port numbers by port name, the same inside and outside.
            namespace: Where the Service is made.

        Returns:
            The Service's full DNS name.
        """
        listed: list[dict[str, object]] = [
            {"name": key, "port": port, "protocol": "TCP"} for key, port in ports.items()
        ]
        self.apply(*service_beside(self.host_address, name, namespace, listed), namespace=namespace)
        return f"{name}.{namespace}.svc.cluster.local"


def until(what: str, look: Callable[[], T | None], *, timeout_s: float = 30) -> T:
    """Look again and again until there is something to see, and return it.

    Args:
        what: What is waited for, in words: the error's text.
        look: Returns None, or another value that is not true, as long as it is not there.
        timeout_s: How long.

    Raises:
        AssertionError: It did not come in time.
    """
    end = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not after {timeout_s:g} s")
        time.sleep(_LOOK_EVERY_S)
    return seen


def _run(command: Sequence[str], stdin: str, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterCommandError(f"{' '.join(command)}: still running after {timeout_s:g} s") from error
    if done.returncode:
        raise ClusterCommandError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout

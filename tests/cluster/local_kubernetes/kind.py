"""The same verbs where Docker runs: there the `kind` program makes nodes of Docker containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from .namespaces import check_call
from .programs import say
from .settings import ADDRESS_VARIABLE, ClusterError, Settings


def docker_runs() -> bool:
    """Whether a Docker daemon answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


class KindCluster:
    """One kind cluster for a state folder; `kind` and `helm` are the user's own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = f"flowcraft-{settings.identity}"

    def build(self) -> None:
        """Nothing is built; look for the programs.

        Raises:
            ClusterError: One lacks.
        """
        missing = [name for name in ("docker", "kind", "kubectl", "helm") if shutil.which(name) is None]
        if missing:
            raise ClusterError(
                f"Docker runs, so kind is used: install {', '.join(missing)} (or FLOWCRAFT_CLUSTER=local)"
            )

    def up(self, count: int = 1) -> None:
        """Create the cluster of kind-config.yaml, unless it is there.

        Raises:
            ClusterError: kind failed, or another number of nodes is asked for than the configuration has.
        """
        self.build()
        if count != 1:
            raise ClusterError("with kind the number of nodes stands in kind-config.yaml")
        self._settings.state.mkdir(parents=True, exist_ok=True)
        known = check_call(["kind", "get", "clusters"]).split()
        if self._name in known:
            self._kind("export", "kubeconfig")
        else:
            configuration = self._settings.clone / "kind-config.yaml"
            self._kind("create", "cluster", "--wait=120s", f"--config={configuration}")
        say(f"kind cluster {self._name}: KUBECONFIG={self._settings.kubeconfig}")

    def down(self) -> None:
        """Delete the cluster."""
        if not self._settings.state.is_dir():
            return
        self._kind("delete", "cluster")
        shutil.rmtree(self._settings.state)

    def status(self) -> None:
        """Print the nodes."""
        say(
            check_call(["kubectl", f"--kubeconfig={self._settings.kubeconfig}", "get", "nodes", "-o", "wide"])
        )

    def build_image(self, references: list[str], clone: Path, distribution: str, app: str) -> None:
        """Build an image from a distribution's Dockerfile; one with an app adds it to the worker base."""
        build = ["docker", "build", "-q", *(f"--tag={reference}" for reference in references)]
        if app:
            recipe = "FROM localhost/flowcraft-worker:dev\nCOPY . /app/\n"
            check_call([*build, "-f", "-", str(clone / app)], stdin=recipe)
        else:
            check_call([*build, "-f", str(clone / distribution / "Dockerfile"), str(clone)])

    def load_image(self, reference: str, source: Path) -> None:
        """Load an image that Docker has (`source` is `-`), or an archive."""
        if str(source) == "-":
            check_call(["kind", "load", "docker-image", reference, "--name", self._name])
        else:
            check_call(["kind", "load", "image-archive", str(source), "--name", self._name])

    @property
    def host_address(self) -> str:
        """The gateway of kind's Docker network, which is the machine."""
        networks = json.loads(check_call(["docker", "network", "inspect", "kind"]))
        addresses = [
            part["Gateway"] for part in networks[0]["IPAM"]["Config"] if "." in part.get("Gateway", "")
        ]
        if not addresses:
            raise ClusterError("kind's Docker network has no IPv4 gateway")
        return str(addresses[0])

    def command(self, *command: str) -> list[str]:
        """A command runs as it is: the API server is published on the machine's loopback."""
        return list(command)

    def environment(self) -> dict[str, str]:
        """The configuration for kubectl and helm."""
        return {"KUBECONFIG": str(self._settings.kubeconfig), ADDRESS_VARIABLE: self.host_address}

    def kill(self, part: str, number: int = 1) -> None:
        """Kill a process of a node by its name; systemd or the kubelet brings it back."""
        check_call(["docker", "exec", self._node(number), "pkill", "-KILL", "-x", part[:15]])

    def stop(self, part: str, number: int = 1) -> None:
        """Stop a unit of a node (kubelet or containerd)."""
        check_call(["docker", "exec", self._node(number), "systemctl", "stop", part])

    def start(self, part: str, number: int = 1) -> None:
        """Start a unit of a node."""
        check_call(["docker", "exec", self._node(number), "systemctl", "start", part])

    def node_kill(self, number: int) -> None:
        """Cut a node's power."""
        check_call(["docker", "kill", self._node(number)])

    def node_up(self, number: int) -> None:
        """Give it back."""
        check_call(["docker", "start", self._node(number)])

    def kwok(self, count: int) -> None:
        """Not with kind.

        Raises:
            ClusterError: Always.
        """
        raise ClusterError(f"{count} fake nodes: only with FLOWCRAFT_CLUSTER=local")

    def _node(self, number: int) -> str:
        if number == 1:
            return f"{self._name}-control-plane"
        return f"{self._name}-worker{number - 1 if number > 2 else ''}"

    def _kind(self, *arguments: str) -> None:
        environment = {**os.environ, "KUBECONFIG": str(self._settings.kubeconfig)}
        command = ["kind", *arguments, "--name", self._name]
        if subprocess.run(command, env=environment, check=False).returncode:
            raise ClusterError(f"{' '.join(command[:3])} failed, see above")

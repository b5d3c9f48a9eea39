"""The cluster as a whole: up, down, and what can be done to it while it runs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import oci
from .certificates import Certificates
from .cgroups import keep_sysctls, remove_cgroup, restore_sysctls
from .control_plane import ControlPlane, addons
from .namespaces import check_call, wait_until
from .node import SANDBOX_IMAGE, Node
from .programs import Programs, locked, say
from .settings import ADDRESS_VARIABLE, HOST_ADDRESS, ClusterError, Settings

BUSYBOX_IMAGE = "localhost/busybox:1"
_GUESTS_GRACE_S = 5


class LocalKubernetes:
    """A cluster made of namespaces on this machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._programs = Programs(settings)
        self._certificates = Certificates(settings.state / "pki")
        self._first = self._node(1)
        self._control_plane = ControlPlane(self._first, settings)

    host_address = HOST_ADDRESS

    def build(self) -> None:
        """Make programs and the images of every node present in the cache."""
        self._programs.build()
        self._node_images()

    def up(self, count: int = 1) -> None:
        """Start nodes 1 to `count` as far as they do not run, and wait until pods and Services work.

        Raises:
            ClusterError: Not root, or a part did not become ready.
        """
        started = time.monotonic()
        if os.geteuid() != 0:
            raise ClusterError("a cluster needs root: it makes namespaces, mounts and cgroups")
        self.build()
        self._settings.state.mkdir(parents=True, exist_ok=True)
        with locked(self._settings.state / "lock"):
            self._start([self._node(number) for number in range(1, count + 1)])
        took = time.monotonic() - started
        say(f"Kubernetes {self._programs.version}: {count} node(s) ready in {took:.1f} s")
        say(f"{self._settings.kubeconfig} holds inside `{self._settings.sources / 'cluster'} exec COMMAND`")

    def _start(self, nodes: list[Node]) -> None:
        keep_sysctls(self._settings.identity)
        for node in nodes:
            node.power_on(self._first)
        self._certificates.create()
        self._certificates.kubeconfig("admin", self._settings.kubeconfig, server="127.0.0.1")
        self._control_plane.start("etcd", "kube-apiserver")
        images = self._node_images()
        with ThreadPoolExecutor() as pool:
            runtimes = [pool.submit(node.start_containerd, images) for node in nodes]
            wait_until("API server", 60, lambda: self._answers("get", "--raw", "/readyz"))
            self._control_plane.start("kube-controller-manager", "kube-scheduler")
            for node in nodes:
                node.start_kubelet(self._certificates)
            self._control_plane.start("coredns")
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=addons())
            for runtime in runtimes:
                runtime.result()
        self._routes()
        for node in nodes:
            self._wait_for_node(node)
        wait_until("DNS", 30, lambda: _passes(self._control_plane.dns_probe()))
        wait_until("default service account", 30, lambda: self._answers("get", "serviceaccount", "default"))

    def _wait_for_node(self, node: Node) -> None:
        wait_until(f"node {node.name}", 60, lambda: self._answers("get", "node", node.name))
        self.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=60s")
        node.wait_for_services()

    def down(self) -> None:
        """End the cluster and leave nothing of it behind; without one it does nothing."""
        if not self._settings.state.is_dir():
            return
        with locked(self._settings.state / "lock"):
            self._first.inside.end_guests(_GUESTS_GRACE_S)
            for node in reversed(self._nodes()):
                node.power_off()
            remove_cgroup(self._settings.cgroup)
            restore_sysctls(self._settings.identity)
            shutil.rmtree(self._settings.state)

    def status(self) -> None:
        """Print what runs, with its memory.

        Raises:
            ClusterError: No cluster is up.
        """
        self._require_up()
        total = 0
        for node in self._nodes():
            for part in node.inside.parts():
                program = node.inside.program(part)
                memory = program.memory_mb() if program else 0
                total += memory
                say(f"{node.name}  {part:<24} {f'{memory:5d} MB' if program else 'dead'}")
        say(f"total {total} MB\n{self.kubectl('get', 'nodes', '-o', 'wide')}")

    def load_image(self, reference: str, source: Path) -> None:
        """Make an image known to every node.

        Args:
            reference: Its name.
            source: An OCI archive (which carries its own name), or a folder that becomes the file system.
        """
        self._require_up()
        if source.is_dir():
            with tempfile.TemporaryDirectory(dir=self._settings.state) as work:
                archive = Path(work, "image.tar")
                oci.write_image_of_folder(archive, reference, source, oci.ImageConfiguration())
                self._import(archive)
        else:
            self._import(source)

    def _import(self, archive: Path) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.import_image(archive), self._running_nodes()))

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command in the cluster's network, with the machine's files."""
        self._require_up()
        return self._first.inside.in_network(*command)

    def environment(self) -> dict[str, str]:
        """What `command` needs: `kubectl` and `helm` on the path, and the configuration."""
        path = f"{self._programs.folder}:{os.environ.get('PATH', os.defpath)}"
        return {
            "PATH": path,
            "KUBECONFIG": str(self._settings.kubeconfig),
            ADDRESS_VARIABLE: self.host_address,
        }

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl as the administrator and return its output.

        Raises:
            ClusterError: It failed.
        """
        login = f"--kubeconfig={self._settings.kubeconfig}"
        return check_call(
            self._first.inside.in_network(self._programs / "kubectl", login, *arguments), stdin=stdin
        )

    def kill(self, part: str, number: int = 1) -> None:
        """Kill a part's program: it is back after a second."""
        self._node(number).inside.kill(part)

    def stop(self, part: str, number: int = 1) -> None:
        """End a part until `start`."""
        self._node(number).inside.stop(part)

    def start(self, part: str, number: int = 1) -> None:
        """Bring a stopped part back.

        Raises:
            ClusterError: There is no such part.
        """
        node = self._node(number)
        if part in self._control_plane.parts:
            self._control_plane.start(part)
        elif part == "containerd":
            node.start_containerd([])
        elif part in {"kubelet", "kube-proxy"}:
            node.start_kubelet(self._certificates)
        else:
            raise ClusterError(f"there is no part {part!r}")

    def node_kill(self, number: int) -> None:
        """Cut a node's power."""
        self._node(number).power_off()

    def node_up(self, number: int) -> None:
        """Give a node its power back; it finds its disk as it was."""
        node = self._node(number)
        node.power_on(self._first)
        self._routes()
        node.start_containerd([])
        node.start_kubelet(self._certificates)

    def kwok(self, count: int) -> None:
        """Have `count` fake nodes beside the real ones, tainted so that only pods that want them go there."""
        self._control_plane.start("kwok")
        self.kubectl("apply", "-f", "-", stdin=_fake_nodes(count))
        self.kubectl("wait", "--for=condition=Ready", "node", "-l", "type=kwok", "--timeout=60s")

    def _node(self, number: int) -> Node:
        return Node(number, self._settings, self._programs)

    def _nodes(self) -> list[Node]:
        numbers = (
            path.name[1:] for path in self._settings.state.glob("n[0-9]*") if path.name[1:].isdecimal()
        )
        return [self._node(number) for number in sorted(map(int, numbers))]

    def _running_nodes(self) -> list[Node]:
        return [node for node in self._nodes() if node.inside.holder is not None]

    def _routes(self) -> None:
        running = self._running_nodes()
        for node in running:
            for other in running:
                if node.number != other.number:
                    node.reach(other)

    def _require_up(self) -> None:
        if self._first.inside.holder is None:
            raise ClusterError("no cluster is up: run `make cluster`")

    def _answers(self, *arguments: str) -> bool:
        try:
            self.kubectl(*arguments)
        except ClusterError:
            return False
        return True

    def _node_images(self) -> list[Path]:
        """The images every node has: the sandbox of pods, and a small one for tests."""
        folder = self._programs.folder
        pause, busybox = folder / "pause.tar", folder / "busybox.tar"
        with tempfile.TemporaryDirectory() as work:
            if not pause.exists():
                root = Path(work, "pause")
                root.mkdir()
                shutil.copy(self._programs / "pause", root)
                _publish(pause, SANDBOX_IMAGE, root, oci.ImageConfiguration(entrypoint=["/pause"]))
            if not busybox.exists():
                root = _busybox_root(Path(work, "busybox"))
                _publish(busybox, BUSYBOX_IMAGE, root, oci.ImageConfiguration(command=["/bin/sh"]))
        return [pause, busybox]


def _publish(archive: Path, reference: str, root: Path, configuration: oci.ImageConfiguration) -> None:
    partial = archive.with_suffix(f".{os.getpid()}.partial")
    oci.write_image_of_folder(partial, reference, root, configuration)
    partial.rename(archive)


def _busybox_root(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", root / "bin")
    for name in check_call(["/bin/busybox", "--list"]).split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    return root


def _fake_nodes(count: int) -> str:
    size = {"cpu": "64", "memory": "256Gi", "pods": "500"}
    items = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"kwok-{number}",
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"type": "kwok", "kubernetes.io/hostname": f"kwok-{number}"},
            },
            "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
            "status": {"allocatable": size, "capacity": size},
        }
        for number in range(1, count + 1)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _passes(command: list[str]) -> bool:
    try:
        check_call(command)
    except ClusterError:
        return False
    return True

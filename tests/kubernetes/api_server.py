"""A real API server with its etcd on free loopback ports, for tests of the operator that need no pods.

The programs are those of the local cluster (`make cluster` builds them once into the user's cache); they are
taken from the folder in FLOWCRAFT_KUBE_PROGRAMS, from the cache, or from the path.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

TOKEN = "t0ken"
START_TIMEOUT_S = 60.0


def find_program(name: str, variable: str = "") -> str | None:
    """The path of a Kubernetes program or of helm; None if there is none on this machine.

    Args:
        name: Of the program.
        variable: Holds its path, where it is set.
    """
    if variable and os.environ.get(variable):
        return os.environ[variable]
    given = os.environ.get("FLOWCRAFT_KUBE_PROGRAMS")
    cache = Path(os.environ.get("FLOWCRAFT_CACHE") or Path.home() / ".cache" / "flowcraft")
    folders = [Path(given)] if given else []
    folders += sorted(cache.glob("programs-*"), key=lambda each: each.stat().st_mtime, reverse=True)
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which(name)


class ApiServer:
    """etcd and kube-apiserver in a folder of their own; `stop` ends both."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.kubeconfig = folder / "kubeconfig"

    def start(self) -> None:
        """Start both and wait until the API server is ready."""
        self._start_etcd()
        self._start_api_server()
        self.kubeconfig.write_text(json.dumps(self._configuration()))
        self._wait("/readyz")

    def kubectl(
        self, *arguments: str, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator."""
        program = find_program("kubectl")
        assert program is not None
        return subprocess.run(
            [program, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=check,
            timeout=60,
        )

    def stop(self) -> None:
        """End both."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pause(self) -> None:
        """Make the API server unreachable without ending it."""
        self._processes[-1].send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `pause`."""
        self._processes[-1].send_signal(signal.SIGCONT)

    def _start_etcd(self) -> None:
        client, peer = free_port(), free_port()
        self._etcd = f"http://127.0.0.1:{client}"
        self._run(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )

    def _start_api_server(self) -> None:
        key = self._folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens = self._folder / "tokens"
        tokens.write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        self._run(
            "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            # Nobody uses it; without it a default route is needed, which a cluster's network does not have.
            "--advertise-address=192.0.2.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://tests.invalid",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--disable-admission-plugins=ServiceAccount",
        )

    def _run(self, name: str, *arguments: str) -> None:
        program = find_program(name)
        assert program is not None
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes.append(subprocess.Popen([program, *arguments], stdout=log, stderr=log))

    def _configuration(self) -> dict[str, object]:
        server = f"https://127.0.0.1:{self.port}"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
            "clusters": [{"name": "tests", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
        }

    def _wait(self, path: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            answer = self.kubectl("get", "--raw", path, check=False)
            if answer.returncode == 0:
                return
            if time.monotonic() > deadline or any(each.poll() is not None for each in self._processes):
                raise RuntimeError(f"the API server does not start: {answer.stderr}; logs in {self._folder}")
            time.sleep(0.2)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

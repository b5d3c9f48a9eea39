"""The programs of a cluster: compiled once from ``go.mod``, then kept by the hash of their sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .settings import ClusterError, Settings

_NAMES = (
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "kwok",
)
_DEBIAN_PACKAGES = ("runc", "nftables", "busybox-static", "iproute2", "procps", "openssl")
_COMPILER_PACKAGES = ("gcc", "libc6-dev")
_VERSION_VARIABLES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


def say(text: str) -> None:
    """Tell the user about progress, on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


class Programs:
    """The folder of compiled programs for the present sources."""

    def __init__(self, settings: Settings) -> None:
        self._sources = settings.sources
        self._cache = settings.cache
        self.folder = settings.cache / f"programs-{self._key()}"

    def _inputs(self) -> list[Path]:
        return [
            self._sources / "go.mod",
            self._sources / "go.sum",
            *sorted((self._sources / "kube").iterdir()),
        ]

    def _key(self) -> str:
        digest = hashlib.sha256(platform.machine().encode())
        for path in self._inputs():
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    @property
    def version(self) -> str:
        """The Kubernetes version, as pinned in ``go.mod``.

        Raises:
            ClusterError: ``go.mod`` pins none.
        """
        pinned = re.search(r"^\tk8s\.io/kubernetes (v\S+)$", (self._sources / "go.mod").read_text(), re.M)
        if pinned is None:
            raise ClusterError("go.mod pins no k8s.io/kubernetes")
        return pinned[1]

    def __truediv__(self, name: str) -> str:
        """The path of a program on the machine (inside a node, see ``namespaces``)."""
        return str(self.folder / name)

    def build(self) -> None:
        """Make every program present: about seven minutes on two cores the first time, then nothing.

        Raises:
            ClusterError: A tool lacks that cannot be installed, or the build failed.
        """
        install_packages(_DEBIAN_PACKAGES)
        if self.folder.is_dir():
            return
        self._cache.mkdir(parents=True, exist_ok=True)
        with locked(self._cache / "programs.lock"):
            if not self.folder.is_dir():
                self._compile()

    def _compile(self) -> None:
        if shutil.which("go") is None:
            raise ClusterError("Go is needed to build Kubernetes: install Go 1.24 or later")
        if shutil.which("gcc") is None:
            install_packages(_COMPILER_PACKAGES)
        say(f"building Kubernetes {self.version} (7 to 14 minutes the first time; kept in {self.folder})")
        partial = Path(tempfile.mkdtemp(prefix="programs.", dir=self._cache))
        try:
            self._go_build(partial)
            pause = [str(self._sources / "kube" / "pause.c"), "-o", str(partial / "pause")]
            _checked(["gcc", "-Wall", "-Os", "-static", "-s", *pause])
            for name in _NAMES:
                (partial / name).symlink_to("kube")
            partial.chmod(0o755)
            partial.rename(self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _go_build(self, target: Path) -> None:
        minor = self.version.split(".")[1]
        fields = {"gitVersion": self.version, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
        variables = [f"-X {p}.{k}={v}" for p in _VERSION_VARIABLES for k, v in fields.items()]
        tools = _checked(["go", "list", "tool"], cwd=self._sources).split()
        # A lazier collector and no debug information: a fifth less time, for memory that is there.
        environment = {"GOGC": "400", **os.environ, "CGO_ENABLED": "0"}
        flags = ["-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"]
        flags += ["-tags", "no_zfs no_btrfs no_devmapper", "-ldflags", " ".join(["-s -w", *variables])]
        command = ["go", "build", *flags, "-o", f"{target}/", "./kube", *tools]
        if subprocess.run(command, cwd=self._sources, env=environment, check=False).returncode:
            raise ClusterError("building Kubernetes failed, see above")


def install_packages(names: tuple[str, ...]) -> None:
    """Install what lacks of the distribution's packages.

    Raises:
        ClusterError: Not root, no ``apt-get``, or it failed.
    """
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"install these packages first, as root: {' '.join(missing)}")
    say(f"installing {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _checked(["apt-get", "update", "-qq"], environment=environment)
    _checked(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], environment=environment
    )


def _installed(package: str) -> bool:
    # `dpkg -s` also knows removed packages that left their settings behind; the status word does not lie.
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def _checked(
    command: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-800:]}")
    return done.stdout


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock on a file, so that two invocations do not build or start the same thing."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

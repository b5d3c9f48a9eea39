"""The operator and workers as the processes that they are in pods, on this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

from tests.kubernetes.api_server import free_port

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


class Program:
    """A process with a health port; its output goes to a file."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.port = free_port()
        self.log = folder / f"{name}-{self.port}.log"
        self._command = command
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT / "examples" / "shop"),
            **environment,
            "FLOWCRAFT_HEALTH_PORT": str(self.port),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and return when it answers its liveness probe."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not self.answers("/livez"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"it does not start:\n{self.text()}")
            time.sleep(0.1)
        return self

    def answers(self, path: str) -> bool:
        """Whether the health port says yes."""
        try:
            self.get(path)
        except (urllib.error.URLError, OSError):
            return False
        return True

    def get(self, path: str) -> str:
        """The text below the health port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, line_start: str) -> float:
        """The value of the metric whose line begins so; 0 if there is none."""
        for line in self.get("/metrics").splitlines():
            if line.startswith(line_start) and line[len(line_start)] in " {":
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def memory_mb(self) -> float:
        """The memory that the process holds now."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu_s(self) -> float:
        """The processor time that the process has used."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def text(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not end:\n{self.text()}") from None


def operator_program(kubeconfig: Path, folder: Path, environment: Mapping[str, str]) -> Program:
    """The operator, against the API server of a kubeconfig."""
    command = [sys.executable, "-m", "flowcraft_operator"]
    given = {"KUBECONFIG": str(kubeconfig), "FLOWCRAFT_LOG_FORMAT": "text", **environment}
    return Program("operator", command, given, folder)


def worker_program(folder: Path, environment: Mapping[str, str], app: str = "shop.flows:app") -> Program:
    """A worker on Azure, as the pool's Deployment starts it."""
    command = [str(Path(sys.executable).parent / "flowcraft"), "worker", "--app", app, "--backend", "azure"]
    return Program("worker", command, environment, folder)


async def until(what: str, look: Callable[[], T], timeout_s: float = 60.0) -> T:
    """Wait until a look gives something true."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = await asyncio.to_thread(look)
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}; the last look: {found!r}")
        await asyncio.sleep(0.2)

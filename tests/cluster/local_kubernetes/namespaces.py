"""A machine within the machine: namespaces held by one process, and programs kept running in them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .settings import ClusterError

STATE = "/run/flowcraft/state"
"""Where every node sees the cluster's state folder, wherever that lies on the machine."""
PROGRAMS = "/run/flowcraft/programs"
"""Where every node sees the programs."""
_PATH = f"{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RESTART_LOOP = 'while :; do "$@"; sleep 1; done'


@dataclass(frozen=True, slots=True)
class Process:
    """A process by number and start time, so that a number used again is not mistaken for it."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now, if it lives."""
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if state in "ZX" else cls(pid, fields[18])  # field 22 of proc_pid_stat(5)

    @classmethod
    def read(cls, path: Path) -> Process | None:
        """The process that was written to a file, if it still lives."""
        try:
            pid, started = path.read_text().split()
        except (OSError, ValueError):
            return None
        now = cls.of(int(pid))
        return now if now is not None and now.started == started else None

    def write(self, path: Path) -> None:
        """Remember the process in a file."""
        path.write_text(f"{self.pid} {self.started}\n")

    def child(self) -> Process | None:
        """The one child, if it has one."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return None
        return Process.of(int(children[0])) if children else None

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def name(self) -> str:
        """The program's short name, empty once it has ended."""
        try:
            return Path(f"/proc/{self.pid}/comm").read_text().strip()
        except OSError:
            return ""

    def memory_mb(self) -> int:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(
            (int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmRSS:")), 0
        )


def wait_until(what: str, timeout_s: float, ready: Callable[[], object]) -> None:
    """Ask until something is so.

    Raises:
        ClusterError: It was not, in time.
    """
    end = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not ready after {timeout_s:g} s")
        time.sleep(0.05)


class Namespaces:
    """The namespaces of one node, and the parts that run in them; its facts are files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def holder(self) -> Process | None:
        """The process whose end is the end of everything here."""
        return Process.read(self.folder / "holder.pid")

    @property
    def _living_holder(self) -> Process:
        holder = self.holder
        if holder is None:
            raise ClusterError(f"node {self.folder.name} is not running")
        return holder

    def create(self, pause: str) -> Process:
        """Make the namespaces; `pause` becomes process 1 in them."""
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*.pid"):
            left.unlink()
        kinds = ["--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--propagation", "private"]
        parent = self._spawn(["unshare", *kinds, pause], "holder")
        return self._adopt(parent, "holder", command=Path(pause).name)

    def enter(self, *command: str) -> list[str]:
        """The command line that runs a command in all namespaces, hence with the node's own folders."""
        return ["nsenter", "-t", str(self._living_holder.pid), "-m", "-n", "-u", "-p", "--", *command]

    def in_network(self, *command: str) -> list[str]:
        """The command line that runs a command in the node's network alone, with the machine's folders."""
        return ["nsenter", f"--net=/proc/{self._living_holder.pid}/ns/net", "--", *command]

    def script(self, text: str) -> None:
        """Run a few shell lines in all namespaces.

        Raises:
            ClusterError: One of them failed.
        """
        check_call(self.enter("sh", "-euc", text))

    def start(self, part: str, *command: str) -> None:
        """Keep a program running: started again a second after each end.

        The control plane's programs end themselves when the API server is away for too long.
        """
        if self.running(part) is None:
            kept = ["env", f"PATH={_PATH}", "sh", "-c", _RESTART_LOOP, part, *command]
            self._adopt(self._spawn(self.enter(*kept), part), part, command="sh")

    def running(self, part: str) -> Process | None:
        """The restart loop of a part, if it lives."""
        return Process.read(self.folder / f"{part}.pid")

    def program(self, part: str) -> Process | None:
        """The part's own process, under its restart loop."""
        loop = self.running(part)
        return loop.child() if loop else None

    def kill(self, part: str) -> None:
        """Kill a part's program; its loop brings it back after a second."""
        program = self.program(part)
        if program is None:
            raise ClusterError(f"{part} does not run on {self.folder.name}")
        program.kill()

    def stop(self, part: str) -> None:
        """End a part, and keep it away."""
        loop = self.running(part)
        if loop:
            program = loop.child()
            loop.kill()
            if program:
                program.kill()
        (self.folder / f"{part}.pid").unlink(missing_ok=True)

    def end(self) -> None:
        """Cut the power: the kernel ends every process, mount and link of these namespaces."""
        holder = self.holder
        if holder:
            holder.kill()
            wait_until(
                f"end of {self.folder.name}", 30, lambda: Process.read(self.folder / "holder.pid") is None
            )
        for left in self.folder.glob("*.pid"):
            left.unlink()

    def end_guests(self, grace_s: float) -> None:
        """End what was started in this network from outside (by ``cluster exec``), politely at first."""
        for guest in self._guests():
            guest.signal(signal.SIGTERM)
        with contextlib.suppress(ClusterError):
            wait_until("end of guests", grace_s, lambda: not self._guests())
        for guest in self._guests():
            guest.kill()

    def _guests(self) -> list[Process]:
        holder = self.holder
        if holder is None:
            return []
        network, mounts = (_namespace(holder.pid, kind) for kind in ("net", "mnt"))
        numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        guests = [
            Process.of(number)
            for number in numbers
            if _namespace(number, "net") == network and _namespace(number, "mnt") != mounts
        ]
        return [guest for guest in guests if guest is not None and guest.pid != os.getpid()]

    def parts(self) -> list[str]:
        """The names of what was started here."""
        return sorted(path.stem for path in self.folder.glob("*.pid") if path.stem != "holder")

    def log(self, part: str) -> Path:
        """Where a part's output goes."""
        return self.folder / "log" / f"{part}.log"

    def _spawn(self, command: list[str], part: str) -> Process:
        with self.log(part).open("ab") as log:
            parent = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        process = Process.of(parent.pid)
        if process is None:
            raise ClusterError(f"{part} did not start: see {self.log(part)}")
        return process

    def _adopt(self, parent: Process, part: str, command: str) -> Process:
        """Find what `unshare` or `nsenter` started, once it has become the wanted program."""
        found: list[Process] = []

        def started() -> bool:
            if Process.of(parent.pid) is None:
                raise ClusterError(f"{part} did not start: see {self.log(part)}")
            child = parent.child()
            if child is None or child.name() != command:
                return False
            found.append(child)
            return True

        wait_until(part, 10, started)
        found[0].write(self.folder / f"{part}.pid")
        return found[0]


def _namespace(pid: int, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:  # it has ended
        return ""


def check_call(command: list[str], *, stdin: str | BinaryIO = "", folder: Path | None = None) -> str:
    """Run a command and return its output; `stdin` is a text, or an open file.

    Raises:
        ClusterError: It failed; the message ends with what it said.
    """
    done = (
        subprocess.run(command, cwd=folder, input=stdin.encode(), capture_output=True, check=False)
        if isinstance(stdin, str)
        else subprocess.run(command, cwd=folder, stdin=stdin, capture_output=True, check=False)
    )
    if done.returncode:
        raise ClusterError(f"{shlex.join(command)[:300]}: {done.stderr.decode().strip()[-800:]}")
    return done.stdout.decode()

"""One server as a child process: started, awaited until it answers, ended by its own process id."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02


class StandInError(RuntimeError):
    """A stand-in did not start or did not end; the message carries the end of its log."""


@dataclass(slots=True)
class ServerProcess:
    """A started server.

    Attributes:
        name: Names its log file too.
        process: The child.
        log: Where its output goes.
        probe: Asks the server for a reply; returns the port it answers on, or None when there is none yet.
            It is given the log so far, where two of the servers say which port they chose, and the id.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    probe: Callable[[str, int], int | None]

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        folder: Path,
        probe: Callable[[str, int], int | None],
        *,
        detached: bool,
    ) -> ServerProcess:
        """Start `command` with its log in `folder`.

        Args:
            name: A short word.
            command: Program and arguments.
            folder: Existing folder for the log.
            probe: See the class.
            detached: Outlive this process. Otherwise the child is ended by the kernel when this process dies
                (where util-linux has `setpriv`), so that a killed test run leaves no server behind.
        """
        log = folder / f"{name}.log"
        setpriv = None if detached else shutil.which("setpriv")
        prefix = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=detached,
            )
        return cls(name, process, log, probe)

    def wait_ready(self) -> int:
        """Wait for the first answer and return the port.

        Raises:
            StandInError: The process ended, or did not answer within 30 seconds.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StandInError(
                    f"{self.name} ended with status {self.process.returncode}:\n{self._log_tail()}"
                )
            port = self.probe(self.log.read_text(errors="replace"), self.process.pid)
            if port is not None:
                return port
            time.sleep(POLL_INTERVAL_S)
        raise StandInError(f"{self.name} did not answer within {START_TIMEOUT_S:.0f} s:\n{self._log_tail()}")

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.process.poll() is None:
            self.process.terminate()

    def wait_ended(self) -> None:
        """Wait until the process is gone; kill it when it does not end in time."""
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

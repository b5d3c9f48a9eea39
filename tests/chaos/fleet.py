"""Worker processes that are killed, frozen, asked to leave, and replaced."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

FLOWCRAFT = Path(sys.executable).with_name("flowcraft")
REPOSITORY = Path(__file__).resolve().parents[2]
QUEUE: Final = "chaos"
WORKERS: Final = 3
VISIBILITY_TIMEOUT_S: Final = 5.0
ENVIRONMENT: Final = {
    "FLOWCRAFT_APP": "tests.chaos.programs:app",
    "FLOWCRAFT_QUEUE": QUEUE,
    "FLOWCRAFT_VISIBILITY_TIMEOUT_S": str(VISIBILITY_TIMEOUT_S),
    "FLOWCRAFT_MAX_DELIVERIES": "100000",  # being killed is not a node's fault here
    "FLOWCRAFT_RECONCILE_INTERVAL_S": "2",
    "FLOWCRAFT_STALLED_THRESHOLD_S": "5",
    "FLOWCRAFT_DRAIN_S": "2",
    "FLOWCRAFT_LOG_FORMAT": "json",
}


def fresh(folder: Path) -> Path:
    """A folder for logs, with no executions of an earlier time in it; where executions are told."""
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "executions.jsonl"
    told.unlink(missing_ok=True)
    return told


class Fleet:
    """A number of ``flowcraft worker`` processes, each with a log of its own.

    Args:
        size: How many.
        environment: Their variables, beside those of this process.
        folder: For their logs.
        limited: What to do in each new process before it becomes a worker.
    """

    def __init__(
        self,
        size: int,
        environment: Mapping[str, str],
        folder: Path,
        limited: Callable[[], None] | None = None,
    ) -> None:
        self._size = size
        self._environment = {**os.environ, **environment, "PYTHONPATH": _path()}
        self._folder = folder
        self.limited = limited
        self.workers: list[asyncio.subprocess.Process | None] = [None] * size
        self.started = 0

    async def __aenter__(self) -> Self:
        for place in range(self._size):
            await self.start(place)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for worker in self.workers:
            if worker is not None and worker.returncode is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for place, worker in enumerate(self.workers):
            if worker is not None:
                try:
                    await asyncio.wait_for(worker.wait(), 30)
                except TimeoutError:
                    await self.kill(place)

    async def start(self, place: int) -> None:
        """Start the worker of a place; it dies with this process."""
        self.started += 1
        setpriv = shutil.which("setpriv")
        prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        with (self._folder / f"worker-{place}.log").open("ab") as log:
            self.workers[place] = await asyncio.create_subprocess_exec(
                *prefix,
                str(FLOWCRAFT),
                "worker",
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self.limited,
            )

    async def kill(self, place: int) -> None:
        """End a worker as a power cut does."""
        worker = self._at(place)
        if worker.returncode is None:
            worker.kill()
        await worker.wait()

    async def leave(self, place: int) -> None:
        """Ask a worker to end, as a rolling update does."""
        worker = self._at(place)
        if worker.returncode is None:
            worker.terminate()
        await worker.wait()

    def freeze(self, place: int) -> None:
        """Stop a worker in the middle: it will not know that time passed."""
        self._signal(place, signal.SIGSTOP)

    def thaw(self, place: int) -> None:
        """Let it go on."""
        self._signal(place, signal.SIGCONT)

    def dead(self) -> list[int]:
        """Places whose worker ended by itself."""
        return [
            place for place, worker in enumerate(self.workers) if worker and worker.returncode is not None
        ]

    def _signal(self, place: int, number: int) -> None:
        worker = self._at(place)
        if worker.returncode is None:
            worker.send_signal(number)

    def _at(self, place: int) -> asyncio.subprocess.Process:
        worker = self.workers[place]
        assert worker is not None
        return worker


def _path() -> str:
    """The same code as this process's, wherever it was found."""
    return os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH", "")])])

"""Contestants as processes: each is told its loads over its input, and answers with laps."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from benchmarks.laps import Lap, Load
from flowcraft_azure import AzureSettings, provision
from flowcraft_azure.settings import COSMOS_DATABASE, QUEUE

ROOT = Path(__file__).resolve().parents[1]


class ContestantError(RuntimeError):
    """A contestant ended before its lap did; why is in its output above."""


class ContestantProcess:
    """One contestant in a process of its own; a context manager that ends it."""

    def __init__(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "benchmarks.lane", name, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def lap(self, load: Load) -> Lap:
        """Run a load.

        Raises:
            ContestantError: it ended instead.
        """
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(f"{json.dumps(dataclasses.asdict(load))}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContestantError(f"{self.name} is gone") from None
        line = self._process.stdout.readline()
        if not line:
            raise ContestantError(f"{self.name} ended with status {self._process.wait()}")
        return Lap.from_dict(json.loads(line))

    def close(self) -> None:
        """End its input, and the process with it."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def on_azure(connections: Mapping[str, str], names: Sequence[str]) -> dict[str, ContestantProcess]:
    """Contestants on the services of these connection strings, each with its own queue and database."""
    started = {}
    for name in names:
        environment = {**connections, QUEUE: f"bench-{name}", COSMOS_DATABASE: f"bench-{name}"}
        asyncio.run(provision(AzureSettings.from_environment(environment)))
        started[name] = ContestantProcess(name, environment=environment)
    return started

"""The `flowcraft` command as users start it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CLONE = Path(__file__).resolve().parents[2]
SHOP = CLONE / "examples" / "shop"
PROGRAM = Path(sys.executable).with_name("flowcraft")
TIMEOUT_S = 170.0
"""A test's own limit is shorter, where it has no longer one."""
FOREIGN = ("FLOWCRAFT_", "AZURE_", "COSMOS_", "REDIS_")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> dict[str, list[str]]:
        """The cells of the table by the first one, without the heading."""
        lines = [line.split() for line in self.out.splitlines()[1:]]
        return {cells[0]: cells[1:] for cells in lines}

    @property
    def error_line(self) -> str:
        """The one line of an error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


def _hear_ctrl_c() -> None:
    """A shell that starts the tests in the background lets its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True, slots=True)
class Command:
    """Starts commands in one folder on one embedded file."""

    folder: Path
    db: Path

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
        ended = subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def begin(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command and let it run; whoever starts it ends it."""
        return subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_ctrl_c,  # noqa: PLW1509  no threads are started between fork and exec
        )

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return {**own, "FLOWCRAFT_DB": str(self.db), **(extra or {})}


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read a process's stderr up to the line that holds the text; its lines."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} was never said: {''.join(lines)}")


def changed(command: Command, **spec: object) -> str:
    """Write a copy of the shop's run.yaml with another spec; its file's name."""
    manifest = yaml.safe_load((command.folder / "run.yaml").read_text())
    manifest["spec"].update(spec)
    (command.folder / "changed.yaml").write_text(yaml.safe_dump(manifest))
    return "changed.yaml"

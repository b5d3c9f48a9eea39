"""Waiting for what another process does; the test's timeout bounds it."""

from __future__ import annotations

import subprocess
import threading

from tests.cli.command import Command

LOOK_EVERY_S = 0.02


def wait_for_line(command: Command, process: subprocess.Popen[str], text: str) -> None:
    """Return when the application in the command's folder has said the text."""
    file = command.folder / "said"
    pause = threading.Event()
    while not (file.exists() and text in file.read_text()):
        assert process.poll() is None, "the command ended"
        pause.wait(LOOK_EVERY_S)

"""How a command ends: exit codes, and errors as one line that says what to do."""

from __future__ import annotations

import os
import sys
from typing import Final

OK: Final = 0
RUN_FAILED: Final = 1
"""The command did what it was asked; a run that it reports on failed or was cancelled."""
REFUSED: Final = 2
"""Wrong use, a wrong file, a verb that the run's state forbids, or a backend that refuses or is away."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells count it."""

DEBUG_VARIABLE: Final = "FLOWCRAFT_DEBUG"

EXPECTED: Final = frozenset(
    {
        "flowcraft.distributed.client:RunNotFoundError",
        "flowcraft.distributed.runs.verbs:RefusedError",
        "flowcraft.errors:FlowcraftError",
        "flowcraft.ports.errors:PortError",
        "flowcraft_api.manifest:ManifestError",
        "flowcraft_cli.usage:UsageError",
    }
)
"""Errors whose text is for the user. By name: importing may be just what does not work."""


class UsageError(Exception):
    """Something given to the command is wrong; the text says what to give instead."""


def note(text: str) -> None:
    """Say something to the person beside the output: on stderr, so that pipes stay clean."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def report(error: BaseException, command: str = "flowcraft") -> int:
    """Print an error as one line and give the exit code.

    An error that this project raises on purpose carries its own advice. Any other is a defect: its type is
    named, and how to see where it came from. With FLOWCRAFT_DEBUG=1 it is raised instead.
    """
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    text = " ".join(str(error).split())
    if _expected(error):
        note(f"{command}: {text}")
    else:
        note(f"{command}: {type(error).__name__}: {text} (set {DEBUG_VARIABLE}=1 to see where)")
    return REFUSED


def _expected(error: BaseException) -> bool:
    """Whether the error was raised for the user to read."""
    return any(f"{kind.__module__}:{kind.__qualname__}" in EXPECTED for kind in type(error).__mro__)

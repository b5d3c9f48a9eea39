"""The two laws of the house, held by import-linter, and what a process loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parents[2]


def in_new_process(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_imports_follow_the_laws() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run(
        [linter, "--no-cache"], cwd=CLONE, capture_output=True, text=True, timeout=50, check=False
    )

    assert ended.returncode == 0, ended.stdout


def test_the_core_loads_no_sdk_and_no_shell() -> None:
    """Also not through what it imports: an SDK costs a second and a hundred megabytes."""
    loaded = in_new_process(
        "import sys, flowcraft.app, flowcraft.evaluator, flowcraft.embedded\n"
        "import flowcraft.distributed.jobs.worker\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    ).split()

    assert {"azure", "redis", "kopf", "kubernetes", "aiohttp", "typer", "prompt_toolkit"}.isdisjoint(loaded)


def test_the_help_of_the_command_loads_nothing_of_the_engine() -> None:
    loaded = in_new_process(
        "import sys, flowcraft_cli.main\nflowcraft_cli.main.build()\nprint(*sorted(sys.modules))"
    ).split()

    heavy = {"structlog", "yaml", "cel", "aiohttp", "flowcraft_api", "azure", "redis"}
    assert heavy.isdisjoint(loaded)
    assert [name for name in loaded if name == "flowcraft" or name.startswith("flowcraft.")] == []


@pytest.mark.parametrize("module", ["collections", "operator", "json", "asyncio"])
def test_python_itself_works_from_the_root_of_the_clone(module: str) -> None:
    """A package `operator` on the import path would hide the standard library's."""
    file = in_new_process(f"import {module}; print({module}.__file__)")

    assert not file.startswith(str(CLONE / "operator"))

"""Fixtures of the command line's tests: the shop, and an application whose nodes take time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.command import SHOP, Command

PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture
def shop(tmp_path: Path) -> Command:
    """The command in a copy of the shop example."""
    folder = tmp_path / "shop-clone"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns(".flowcraft", "__pycache__"))
    return Command(folder, tmp_path / "runs.db")


@pytest.fixture
def slow(tmp_path: Path) -> Command:
    """The command beside `slow.py`, whose nodes tell by files what they do."""
    folder = tmp_path / "slow-clone"
    shutil.copytree(PROGRAMS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return Command(folder, tmp_path / "runs.db")

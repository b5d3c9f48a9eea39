"""The page on extending and testing is true: its code runs as it stands there, from top to bottom."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from flowcraft.history import SqliteEventStore

PAGE = Path(__file__).resolve().parents[3] / "docs" / "extending.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """A module for the page's code: its classes must be found again by name."""
    made = ModuleType("the_page")
    sys.modules["the_page"] = made
    yield made
    del sys.modules["the_page"]


def blocks() -> list[CodeType]:
    text = PAGE.read_text()
    found = []
    for block in BLOCK.finditer(text):
        lines = "\n" * text[: block.start(1)].count("\n")
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        found.append(compile(lines + block.group(1), str(PAGE), "exec", flags, dont_inherit=True))
    return found


async def test_the_pages_code_runs_as_it_stands_there(module: ModuleType, tmp_path: Path) -> None:
    names: dict[str, Any] = vars(module)
    names["folder"] = tmp_path
    for block in blocks():
        running = eval(block, names)  # noqa: S307  the page's own code
        if inspect.isawaitable(running):
            await running
    store: SqliteEventStore = names["store"]
    await store.close()

"""The page on writing workflows is true: its code, its YAML, the codes of the linter, the examples."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from flowcraft import Blueprint, lint
from flowcraft.sources import read_documents

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "authoring.md").read_text()
CODE = re.compile(r'"([A-Z]{2,}(?:_[A-Z]+)+)"')
LINTER = [
    *(ROOT / "workers" / "src" / "flowcraft" / "linting").glob("*.py"),
    ROOT / "workers" / "src" / "flowcraft" / "linter.py",
    ROOT / "workers" / "src" / "flowcraft" / "batch_mistakes.py",
    ROOT / "workers" / "src" / "flowcraft_cli" / "blueprints.py",
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("the_authoring_page")
    sys.modules["the_authoring_page"] = made
    yield made
    del sys.modules["the_authoring_page"]


async def test_the_pages_code_runs_as_it_stands_there(module: ModuleType) -> None:
    for block in blocks("python"):
        code = compile(block, "authoring.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        running = eval(code, vars(module))  # noqa: S307  the page's own code
        if inspect.isawaitable(running):
            await running
    app = module.__dict__["app"]
    for blueprint in app.blueprints.values():
        assert lint(blueprint, app.registry, blueprints=app.blueprints) == []


def test_the_pages_blueprint_is_sound() -> None:
    (text,) = blocks("yaml")
    (document,) = read_documents(text.encode())
    assert lint(Blueprint.from_dict(document.value), {"charge", "thank"}) == []


def test_the_page_tells_every_code_of_the_linter_and_each_has_a_test() -> None:
    used = {code for file in LINTER for code in CODE.findall(file.read_text())}
    told = {
        code for line in TEXT.splitlines() for code in re.findall(r"\b[A-Z]+_[A-Z_]+\b", line) if "|" in line
    }
    assert told == used
    tests = "".join(file.read_text() for file in (ROOT / "tests").glob("*/**/test_*.py"))
    assert [code for code in sorted(used) if code not in tests] == []


def test_the_page_shows_every_example() -> None:
    for folder in (ROOT / "examples").iterdir():
        if (folder / "README.md").exists():
            assert f"../examples/{folder.name}/README.md" in TEXT

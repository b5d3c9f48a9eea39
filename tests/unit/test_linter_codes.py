"""Each code that the linter tells has a test, and a word in the guide."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import flowcraft
import flowcraft_cli

CORE = Path(flowcraft.__file__).parent
CODE = re.compile(r"[A-Z]{2,}(?:_[A-Z]+)+")
TELLING = [
    CORE / "linter.py",
    CORE / "batch_mistakes.py",
    *sorted((CORE / "linting").glob("*.py")),
    Path(flowcraft_cli.__file__).parent / "blueprints.py",
]
REPOSITORY = Path(__file__).parents[2]


def texts(file: Path) -> Iterator[str]:
    """What stands in quotes in a file, docstrings and comments left out by their form."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            yield node.value


CODES = {code for file in TELLING for code in texts(file)}


def test_each_code_has_a_test() -> None:
    tests = [*(REPOSITORY / "tests" / "unit").glob("*.py"), *(REPOSITORY / "tests" / "cli").glob("*.py")]
    tested = {code for file in tests if file != Path(__file__) for code in CODE.findall(file.read_text())}
    assert len(CODES) > 40
    assert CODES - tested == set()


def test_each_code_is_in_the_guide_and_no_other() -> None:
    guide = (REPOSITORY / "docs" / "authoring.md").read_text()
    table = guide[guide.index("| Code | What is wrong |") :].partition("\n\n")[0]
    assert {code for code in CODE.findall(table) if code.isupper()} == CODES

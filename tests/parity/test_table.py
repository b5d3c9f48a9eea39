"""The table of what the original has: every line names tests, and every test that it names exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "parity.md"
MODES = {"M", "E", "A"}
ROW = re.compile(r"^\| (?P<what>.+) \| (?P<modes>[MEA -]+) \| (?P<tests>`.+`) \|$")


def table() -> str:
    _, _, text = DOCUMENT.read_text().partition("\n## What the original has, and what proves it here\n")
    return text.partition("\n## ")[0]


@cache
def code(file: str) -> str:
    path = TESTS / file
    return path.read_text() if path.is_file() else ""


def test_every_line_of_the_table_has_modes_and_tests_that_exist() -> None:
    lines = [line for line in table().splitlines() if line.startswith("| ") and not line.startswith("| The ")]
    done, left_out = table().split("**Not here, on purpose**")
    rows = [ROW.match(line) for line in lines if line in done]
    assert all(rows), [line for line, row in zip(lines, rows, strict=False) if row is None]
    assert len(rows) >= 55
    for row in rows:
        assert row is not None
        assert row["modes"] == "-" or set(row["modes"].split()) <= MODES, row["what"]
        for named in re.findall(r"`([^`]+::[^`]+)`", row["tests"]):
            file, _, test = named.partition("::")
            assert f"def {test}(" in code(file), named
    assert left_out.count("\n| ") >= 5


def test_the_table_goes_through_every_part_of_the_original() -> None:
    for part in ("Blueprint model", "Nodes", "Authoring", "Running", "Extending", "Tools", "Distributed"):
        assert f"\n**{part}**\n" in table()

"""Documents: links lead somewhere, and what is shown is what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.architecture.test_names import CLONE, tracked

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def links(path: Path) -> Iterator[str]:
    text = FENCE.sub("", (CLONE / path).read_text())
    yield from LINK.findall(text)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = HEADING.findall(FENCE.sub("", (CLONE / path).read_text()))
    cleaned = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {text.replace(" ", "-") for text in cleaned}


@pytest.mark.parametrize("path", documents(), ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        file = (CLONE / path).parent / target if target else CLONE / path
        assert file.exists(), f"{path}: {link}"
        if anchor:
            assert anchor in anchors(file.resolve().relative_to(CLONE)), f"{path}: {link}"


def test_every_decision_is_listed_and_numbered() -> None:
    folder = CLONE / "docs" / "decisions"
    decisions = sorted(path.name for path in folder.glob("[0-9]*.md"))
    listed = re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (folder / "README.md").read_text())

    assert listed == decisions
    assert [int(name[:4]) for name in decisions] == list(range(1, len(decisions) + 1))


def test_every_make_target_of_the_contract_is_there_and_listed() -> None:
    makefile = (CLONE / "Makefile").read_text()
    promised = ["demo", "test", "e2e", "emulators", "emulators-down", "bench", "lint", "setup", "lock"]
    promised += ["cluster", "cluster-demo", "cluster-down"]
    for target in promised:
        assert re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE), target


def test_yaml_shown_in_documents_is_yaml() -> None:
    for path in documents():
        for block in re.findall(r"^```yaml\n(.*?)^```", (CLONE / path).read_text(), re.MULTILINE | re.DOTALL):
            assert list(yaml.safe_load_all(block)), path

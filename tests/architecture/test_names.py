"""Names: no module that hides the standard library, none whose name says nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]
SOURCES = [CLONE / "workers" / "src", CLONE / "operator" / "src"]
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc", "shared", "tools"}


def tracked() -> list[Path]:
    """The files of the project; what git does not know is nobody's business."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CLONE, capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.split("\0") if name and (CLONE / name).exists()]


def test_the_project_folders_are_no_packages() -> None:
    for folder in ("operator", "workers", "operator/src", "workers/src"):
        assert not (CLONE / folder / "__init__.py").exists(), f"{folder} must not be a package"


def test_no_name_says_nothing() -> None:
    found = [path for path in tracked() if {part.partition(".")[0] for part in path.parts} & SAYS_NOTHING]

    assert found == []


def test_no_package_hides_one_of_the_standard_library() -> None:
    """Only roots are dangerous: inside a package, `queue` is never found as a top-level module."""
    roots = {path.name for source in SOURCES for path in source.iterdir() if path.is_dir()}

    assert roots
    assert roots.isdisjoint(sys.stdlib_module_names)


def test_nothing_of_the_machine_it_was_written_on() -> None:
    private = ["/work" + "/", "/root" + "/", "../" + "shared"]
    found = []
    for path in tracked():
        if path.suffix in {".png", ".gz", ".tgz"}:
            continue
        text = (CLONE / path).read_text(encoding="utf-8", errors="replace")
        found += [f"{path}: {part}" for part in private if part in text]

    assert found == []

"""Write the custom resource definitions, or check that those that are there are current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from flowcraft_operator.crdgen.definition import RESOURCES, chart_text, file_name, manifest_text
from flowcraft_operator.crdgen.structural import StructuralSchemaError

PLAIN = Path("crds")
CHART = Path("charts/flowcraft-operator/templates/crds")


def generated_files() -> dict[Path, str]:
    """Every generated file, by its path in the repository."""
    files = {}
    for resource in RESOURCES:
        files[PLAIN / file_name(resource)] = manifest_text(resource)
        files[CHART / file_name(resource)] = chart_text(resource)
    return files


def differences(root: Path) -> list[str]:
    """The files below `root` that are missing, stale, or no longer generated, one line each."""
    wanted = generated_files()
    problems = []
    for path, text in wanted.items():
        file = root / path
        if not file.is_file():
            problems.append(f"{path} is missing")
        elif file.read_text(encoding="utf-8") != text:
            problems.append(f"{path} is not what the models say")
    for folder in (PLAIN, CHART):
        for file in sorted((root / folder).glob("*.yaml")):
            if folder / file.name not in wanted:
                problems.append(f"{folder / file.name} belongs to no model")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        0 where all is well, 1 where files differ, 2 where it was called wrongly or a model cannot be
        expressed.
    """
    parser = argparse.ArgumentParser(prog="python -m flowcraft_operator.crdgen", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file would change"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="the root of the repository (default: here)"
    )
    options = parser.parse_args(arguments)
    if not (options.root / "charts").is_dir():
        return _say(
            f"{options.root.resolve()} is not the root of the repository: go there, or give --root", 2
        )
    try:
        if options.check:
            return _check(options.root)
        for path, text in generated_files().items():
            (options.root / path).parent.mkdir(parents=True, exist_ok=True)
            (options.root / path).write_text(text, encoding="utf-8")
    except StructuralSchemaError as error:
        return _say(str(error), 2)
    return 0


def _check(root: Path) -> int:
    problems = differences(root)
    for problem in problems:
        _say(f"{problem}: run python -m flowcraft_operator.crdgen", 1)
    return 1 if problems else 0


def _say(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

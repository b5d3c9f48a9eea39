"""The part of the workspace's lock that some distributions need to run, by the lock's own `# via` notes.

A program too, for the Dockerfiles: ``lock_subset.py requirements.lock flowcraft-runtime`` prints it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NOTE = re.compile(r"\s+#\s+(?:via\s+)?(?!via$)([A-Za-z0-9][A-Za-z0-9._-]*)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One pinned package: its lines with version, marker and hashes, and who asked for it."""

    name: str
    text: str
    wanted_by: frozenset[str]


def entries(lock: str) -> Iterator[Entry]:
    """Read a lock as `uv pip compile --generate-hashes` writes it."""
    for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.M):
        name = _NAME.match(block)
        if name is None:  # the header
            continue
        lines = block.splitlines()
        wanted_by = frozenset(found[1] for line in lines if (found := _NOTE.match(line)))
        text = "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
        yield Entry(name[0], f"{text}\n", wanted_by)


def subset(lock: str, wanted: Iterable[str], *, beyond: Iterable[str] = ()) -> str:
    """The lock's entries that `wanted` need, and what these need, and so on.

    Args:
        lock: The lock's text.
        wanted: Distributions, ours or a locked one; a locked one is part of the answer itself.
        beyond: Distributions whose needs are there already, and are left out.

    Raises:
        ValueError: A distribution needs nothing: its name is wrong, or the lock carries no notes.
    """
    everything = list(entries(lock))
    names = _reached(everything, wanted) - _reached(everything, beyond)
    return "".join(entry.text for entry in everything if entry.name in names)


def _reached(everything: list[Entry], roots: Iterable[str]) -> set[str]:
    reached = set(roots)
    unknown = reached - {name for entry in everything for name in entry.wanted_by}
    if unknown:
        raise ValueError(f"nothing in the lock is there for {', '.join(sorted(unknown))}")
    while more := {entry.name for entry in everything if entry.wanted_by & reached} - reached:
        reached |= more
    return reached


def main(arguments: list[str]) -> None:
    """Print a subset: LOCK NAME... [--beyond NAME...]."""
    lock, *names = arguments
    cut = names.index("--beyond") if "--beyond" in names else len(names)
    sys.stdout.write(subset(Path(lock).read_text(), names[:cut], beyond=names[cut + 1 :]))


if __name__ == "__main__":
    main(sys.argv[1:])

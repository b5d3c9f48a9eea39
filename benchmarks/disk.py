"""The disk under the embedded backend: a folder on it, and how many commits a second it takes."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from flowcraft.embedded.filesystem import NETWORK_TYPES, mount_type

MEMORY_TYPES: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems that forget when the power goes: what they commit costs nothing and means nothing."""
ROW: Final = "x" * 250
"""About what the record of a node holds."""


class NoDiskError(RuntimeError):
    """No folder on a disk was found; the message says what to do."""


def unfit(kind: str | None) -> bool:
    """Whether a file system of this type must not be measured: in memory, or on the network."""
    return kind in MEMORY_TYPES or kind in NETWORK_TYPES


def file_system(folder: Path) -> str | None:
    """The type of the file system that holds a folder; None where nobody can tell."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return mount_type(folder.resolve(), mounts)


def folder_on_disk(candidates: Iterable[Path]) -> Path:
    """A fresh folder in the first candidate that lies on a disk; the caller removes it.

    Raises:
        NoDiskError: none does.
    """
    refused = []
    for candidate in candidates:
        if not os.access(candidate, os.W_OK):
            refused.append(f"{candidate} cannot be written")
        elif unfit(kind := file_system(candidate)):
            refused.append(f"{candidate} is on {kind}")
        else:
            return Path(tempfile.mkdtemp(prefix=".flowcraft-bench-", dir=candidate))
    raise NoDiskError(f"no folder on a disk to measure on ({'; '.join(refused)}): give one with --folder")


def raw_commits_per_s(folder: Path, seconds: float = 1.0) -> float:
    """Transactions of one row each that the disk keeps in a second (WAL, ``synchronous=FULL``)."""
    path = folder / "raw.db"
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, document TEXT)")
            commits = 0
            started = time.perf_counter()
            while (passed := time.perf_counter() - started) < seconds:
                connection.execute("INSERT INTO row (document) VALUES (?)", (ROW,))
                commits += 1
            return commits / passed
    finally:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

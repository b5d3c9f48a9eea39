"""Removing what has lapsed, a little with every so many writes instead of all at once."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

EVERY_WRITES: Final = 256
LOOKED_AT: Final = 2 * EVERY_WRITES
"""Rows of each table looked at in one go: more than were added meanwhile, so that nothing piles up."""


@dataclass(frozen=True, slots=True)
class _Table:
    page: str
    first: tuple[str, ...]
    deletes: tuple[str, ...]


_TABLES: Final = (
    _Table(
        "SELECT until, run_id, key FROM claim WHERE (run_id, key) > (?, ?) ORDER BY run_id, key LIMIT ?",
        ("", ""),
        ("DELETE FROM claim WHERE run_id = ? AND key = ?",),
    ),
    _Table(
        "SELECT until, run_id, name FROM join_state"
        " WHERE (run_id, name) > (?, ?) ORDER BY run_id, name LIMIT ?",
        ("", ""),
        (
            "DELETE FROM join_edge WHERE run_id = ? AND name = ?",
            "DELETE FROM join_state WHERE run_id = ? AND name = ?",
        ),
    ),
    _Table(
        "SELECT until, run_id FROM run_count WHERE run_id > ? ORDER BY run_id LIMIT ?",
        ("",),
        ("DELETE FROM run_count WHERE run_id = ?",),
    ),
)


class Sweeper:
    """Walks through the tables of signals, round and round, and deletes lapsed rows."""

    def __init__(self) -> None:
        self._writes = 0
        self._after = [table.first for table in _TABLES]

    def sweep(self, connection: sqlite3.Connection, now: float, writes: int) -> None:
        """Count writes; when enough came together, look at the next rows within the caller's transaction."""
        self._writes += writes
        if self._writes < EVERY_WRITES:
            return
        self._writes = 0
        for index, table in enumerate(_TABLES):
            rows = connection.execute(table.page, (*self._after[index], LOOKED_AT)).fetchall()
            lapsed = [row[1:] for row in rows if row[0] <= now]
            for delete in table.deletes:
                connection.executemany(delete, lapsed)
            self._after[index] = rows[-1][1:] if len(rows) == LOOKED_AT else table.first

"""The tables, and how a file is recognised, created and refused.

Facts are ``header``, ``record``, ``context``, ``run_input``, ``snapshot`` and ``large_value``; everything
else is signals that may be lost. Times are seconds since the epoch. ``etag`` and ``receipt`` are random: a
row that was deleted and created again never matches an old one.
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable
from typing import Final

from flowcraft.embedded.failures import is_busy, translated
from flowcraft.ports.errors import BackendRefusedError

APPLICATION_ID: Final = 0x666C6F77
"""Marks the file as one of ours ("flow"), for `PRAGMA application_id` and for file(1)."""
SCHEMA_VERSION: Final = 2
OPEN_TIMEOUT_S: Final = 10.0
MINIMUM_SQLITE: Final = (3, 35, 0)
"""The first version with RETURNING (sqlite.org/lang_returning.html)."""

_LARGE_VALUES: Final = """
CREATE TABLE large_value (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run_id, name)
)
"""
_CHANGES: Final = {2: (_LARGE_VALUES,)}
"""By schema version: what makes it of the version before."""

_TABLES: Final = """
CREATE TABLE header (
    run_id TEXT PRIMARY KEY,
    etag INTEGER NOT NULL,
    queue TEXT NOT NULL,
    status TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    last_updated REAL NOT NULL,
    next_check REAL,
    expires_at REAL,
    document BLOB NOT NULL,
    heavy BLOB
);
CREATE INDEX header_changed ON header (queue, changed_at);
CREATE INDEX header_status ON header (status, last_updated);
CREATE INDEX header_due ON header (next_check) WHERE next_check IS NOT NULL;
CREATE INDEX header_expired ON header (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE record (
    run_id TEXT NOT NULL,
    key TEXT NOT NULL,
    etag INTEGER NOT NULL,
    status TEXT NOT NULL,
    document BLOB NOT NULL,
    output BLOB,
    PRIMARY KEY (run_id, key)
) WITHOUT ROWID;
CREATE TABLE context (
    run_id TEXT NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    value BLOB,
    PRIMARY KEY (run_id, key)
) WITHOUT ROWID;
CREATE TABLE run_input (run_id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshot (
    run_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (run_id, reference)
) WITHOUT ROWID;

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    visible_at REAL NOT NULL,
    receipt INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    inserted_at REAL NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX message_visible ON message (queue, visible_at);

CREATE TABLE claim (
    run_id TEXT NOT NULL,
    key TEXT NOT NULL,
    token TEXT NOT NULL,
    done INTEGER NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (run_id, key)
) WITHOUT ROWID;
CREATE TABLE join_state (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    resolved INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    fired_by TEXT,
    answer TEXT,
    until REAL NOT NULL,
    PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
CREATE TABLE join_edge (
    run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    edge TEXT NOT NULL,
    taken INTEGER NOT NULL,
    PRIMARY KEY (run_id, name, edge)
) WITHOUT ROWID;
CREATE TABLE run_count (
    run_id TEXT PRIMARY KEY,
    activity INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE heartbeat (
    queue TEXT NOT NULL,
    worker TEXT NOT NULL,
    in_flight INTEGER NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (queue, worker)
) WITHOUT ROWID;
CREATE TABLE notice (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    text TEXT NOT NULL,
    at REAL NOT NULL
);

-- Written by the checkpointer, so that it and not a worker's commit restarts the write-ahead log.
CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), completed INTEGER NOT NULL);
INSERT INTO checkpoint VALUES (1, 0);
"""


def connect(path: str) -> sqlite3.Connection:
    """Open a connection with the settings that every connection to the file has.

    It commits by itself (`isolation_level=None`), never waits for a lock (the caller does, without blocking
    its event loop), and never checkpoints (`checkpoint.py` does).
    """
    connection = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        for pragma in ("synchronous = NORMAL", "wal_autocheckpoint = 0", "trusted_schema = OFF"):
            _patiently(functools.partial(connection.execute, f"PRAGMA {pragma}"))
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make sure that the file is one of ours, with our tables; an empty one gets them.

    Raises:
        BackendRefusedError: it is something else, damaged, or of a newer version.
        BackendUnavailableError: another process holds it longer than a few seconds, or the disk fails.
    """
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        wanted = ".".join(map(str, MINIMUM_SQLITE))
        raise BackendRefusedError(
            f"SQLite {sqlite3.sqlite_version} is too old; use a Python with {wanted} or newer"
        )
    try:
        _patiently(functools.partial(_prepare, connection, path))
    except sqlite3.Error as error:
        raise translated(error, path) from error


def _patiently(act: Callable[[], object]) -> None:
    """Try again while another process creates, recovers or leaves the file.

    SQLite's own busy handler is no help: it is not asked when the journal mode changes.
    """
    deadline = time.monotonic() + OPEN_TIMEOUT_S
    while True:
        try:
            act()
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.02)


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    if not _ours(connection, path, "BEGIN"):
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode not in {"wal", "memory"}:
            raise BackendRefusedError(
                f"{path} cannot have a write-ahead log (its mode is {mode}); put it on a local, writable disk"
            )
        _ours(connection, path, "BEGIN IMMEDIATE", create=True)
    connection.execute("PRAGMA journal_mode = WAL")
    # Makes the log exist, with a synced header, before the event loop commits to it.
    connection.execute("UPDATE checkpoint SET completed = completed + 1")


def _ours(connection: sqlite3.Connection, path: str, begin: str, *, create: bool = False) -> bool:
    """Whether the file has our tables, seen (and made, if asked) in one transaction."""

    def number(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    connection.execute(begin)
    try:
        version = number("PRAGMA user_version")
        if number("PRAGMA application_id") == APPLICATION_ID:
            if version > SCHEMA_VERSION:
                raise BackendRefusedError(
                    f"{path} was written by a newer flowcraft (its schema is {version}, this one knows"
                    f" {SCHEMA_VERSION}); upgrade flowcraft-runtime, or use another file (--db)"
                )
            if version < SCHEMA_VERSION:
                _upgrade(connection, version)
            return True
        if version or number("SELECT count(*) FROM sqlite_master"):
            raise BackendRefusedError(
                f"{path} is a database of another program; give the run file another name (--db)"
            )
        if create:
            for statement in (*_TABLES.split(";\n"), _LARGE_VALUES):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        return create
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables of an older version up to this one, once, whoever opens the file first."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for number in range(max(version, found) + 1, SCHEMA_VERSION + 1):
        for statement in _CHANGES[number]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")

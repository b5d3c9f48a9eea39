"""SQLite's errors as errors of the ports."""

from __future__ import annotations

import sqlite3

from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    PayloadTooLargeError,
    PortError,
)

_REFUSED = {
    "SQLITE_NOTADB": "is not a SQLite database; give the run file another name (--db)",
    "SQLITE_CORRUPT": "is damaged; keep a copy, then try `sqlite3 FILE .recover`, or restore a backup",
    "SQLITE_CANTOPEN": "cannot be opened; check that its folder exists and may be written",
    "SQLITE_READONLY": "is read-only; check the permissions of the file and its folder",
    "SQLITE_PERM": "may not be used; check the permissions of the file and its folder",
    "SQLITE_AUTH": "may not be used; check the permissions of the file and its folder",
    "SQLITE_SCHEMA": "has other tables than this version expects; use another file (--db)",
}
_UNAVAILABLE = {
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_LOCKED": "is locked by another connection",
    "SQLITE_FULL": "cannot grow: the disk is full",
    "SQLITE_IOERR": "cannot be read or written",
    "SQLITE_PROTOCOL": "is locked by another process",
    "SQLITE_NOMEM": "does not fit into memory",
    "SQLITE_INTERRUPT": "was interrupted",
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the lock: nothing was done, and trying again will do."""
    name = _name(error)
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"))


def translated(error: sqlite3.Error, path: str) -> PortError | sqlite3.Error:
    """The port's error for an error of SQLite; the error itself where it is a mistake of this package.

    Extended codes (`SQLITE_IOERR_FSYNC`) fall under their primary code; see sqlite.org/rescode.html.
    """
    name = _name(error)
    primary = "_".join(name.split("_")[:2])
    if primary == "SQLITE_TOOBIG":
        return PayloadTooLargeError(f"a value is larger than SQLite keeps: {error}")
    if primary in _REFUSED:
        return BackendRefusedError(f"{path} {_REFUSED[primary]} ({name}: {error})")
    if primary in _UNAVAILABLE:
        return BackendUnavailableError(f"{path} {_UNAVAILABLE[primary]} ({name}: {error})")
    return error


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or ""

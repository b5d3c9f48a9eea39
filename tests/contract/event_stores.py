"""The event stores that the contract is checked on, and a PostgreSQL server for one of them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

CONNINFO: Final = "FLOWCRAFT_TEST_POSTGRES"
PLACES: Final = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt/postgresql")


def postgres_programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, if they are installed and may be run here."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += [path.parent for place in PLACES for path in sorted(Path(place).glob("**/bin/initdb"))]
    if not folders or (os.geteuid() == 0 and _account() is None):
        return None
    return folders[-1]


def _account() -> str | None:
    """PostgreSQL refuses to run as root; its packages make an account for it."""
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


@contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """A server on a socket of its own, all in a folder that is removed; gives its connection string."""
    folder = Path(mkdtemp(prefix="pg-", dir="/tmp"))
    account = _account() if os.geteuid() == 0 else None
    run_as: dict[str, Any] = {"user": account, "group": account} if account else {}
    if account:
        shutil.chown(folder, account, account)
    data = folder / "data"
    server: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "flowcraft", "--no-sync", "-E", "UTF8"],
            check=True, capture_output=True, cwd=folder, **run_as,
        )  # fmt: skip
        options = ["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=10"]
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", folder, "-h", "", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **run_as,
        )  # fmt: skip
        conninfo = f"host={folder} user=flowcraft dbname=postgres"
        _until_ready(programs, folder, server)
        yield conninfo
    finally:
        if server is not None:
            server.terminate()
            server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _until_ready(programs: Path, folder: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    ask: list[str | Path] = [programs / "pg_isready", "-q", "-h", folder, "-U", "flowcraft", "-d", "postgres"]
    while subprocess.run(ask, check=False).returncode:
        assert server.poll() is None, "the PostgreSQL server ended"
        assert time.monotonic() < deadline, "the PostgreSQL server does not answer"
        time.sleep(0.05)

"""Chaos on the embedded backend: workers killed and frozen, a full disk, and a log that ends in garbage."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from tests.chaos.audit import Audit, Findings, oracle
from tests.chaos.drive import Drive, drawn, through
from tests.chaos.fleet import ENVIRONMENT, QUEUE, WORKERS, Fleet, fresh
from tests.chaos.programs import LOG_VARIABLE
from tests.chaos.storm import Storm

from flowcraft.distributed.client import Client
from flowcraft.embedded import EmbeddedBackend, open_embedded

LEFT_BYTES: Final = 32_768
"""What a log of a worker may still grow by; the database's are larger than that."""


class View:
    """The people's own connection to the file, which can be closed and opened again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.backend: EmbeddedBackend

    async def open(self) -> Client:
        """A client over a new connection."""
        self.backend = backend = open_embedded(self._file, QUEUE)
        await backend.__aenter__()
        return Client(QUEUE, backend.queue, backend.facts, backend.coordination, _clock(backend))

    async def close(self) -> None:
        """Whoever still uses it is told that the backend is unavailable."""
        await self.backend.__aexit__(None, None, None)

    async def cut(self, rng: random.Random) -> None:
        """Close it so that the files are as a power cut leaves them, with a torn write in the log."""
        before = _contents(self._file)  # closing would tidy up; nothing is written between these two lines
        await self.close()
        _put_back(self._file, before, rng.randbytes(rng.randrange(1, 20_000)))


class DiskStorm(Storm):
    """Beside the workers: their disk."""

    def __init__(
        self, rng: random.Random, fleet: Fleet, file: Path, power_cut: Callable[[], Any], counts: Counter[str]
    ) -> None:
        super().__init__(rng, fleet, counts)
        self._file = file
        self._power_cut = power_cut
        self.events |= {
            "disk full": self._full,
            "disk full again": self._full,
            "power cut": self._cut,
        }

    async def _full(self) -> None:
        """The workers can write only to the beginnings of their files for a while."""
        self._count("disk full for the workers")
        logs = max((_size(path) for path in self._file.parent.parent.iterdir()), default=0)
        await self._limit(logs + LEFT_BYTES)
        await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        await self._limit(resource.RLIM_INFINITY)

    async def _limit(self, most_bytes: int) -> None:
        for worker in self._fleet.workers:
            if worker is not None and worker.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    async def _cut(self) -> None:
        """All processes end at once, and the log's tail is torn."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._count("power cut, garbage at the end of the log")
        for place in range(len(self._fleet.workers)):
            await self._fleet.kill(place)
        await self._power_cut()
        for place in range(len(self._fleet.workers)):
            await self._fleet.start(place)


async def chaos(
    count: int, seed: int, say: Callable[[str], None], logs: Path | None = None
) -> tuple[Findings, Counter[str]]:
    """So many runs through the storm of a seed; what the audit found, and the faults that were injected."""
    rng = random.Random(seed)  # noqa: S311 - a test
    pace = random.Random(seed)  # noqa: S311 - a test
    counts: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log, file = fresh(folder), folder / "data" / "runs.db"
        view = View(file)
        client = await view.open()
        settings = {"FLOWCRAFT_BACKEND": "embedded", "FLOWCRAFT_DB": str(file), LOG_VARIABLE: str(log)}
        fleet = await stack.enter_async_context(Fleet(WORKERS, {**ENVIRONMENT, **settings}, folder))
        drive = Drive(drawn(rng, count), pace, client, client, say)

        async def power_cut() -> None:
            await view.cut(rng)
            drive.through = drive.clear = await view.open()

        storm = DiskStorm(rng, fleet, file, power_cut, counts)
        expected = await oracle()
        await through(drive, storm, say)
        audit = Audit(drive.clear, expected, _contexts(view))
        await audit.open_runs(QUEUE, within_s=30.0)
        await _leftovers(audit.findings, view, file)
        await drive.close()
        audit.findings.surprises += drive.surprises
        await audit.runs(drive.accepted)
        audit.executions(log)
        if damage := _damage(file):
            audit.findings.lost.append(f"the file: {damage}")
        counts["writes that the full disk refused"] = _refused(folder)
        counts["calls of people asked again"] = drive.asked_again
        counts["worker processes started"] = fleet.started
        await view.close()
        return audit.findings, counts


def _contents(file: Path) -> tuple[bytes, bytes]:
    """The database and its log."""
    return file.read_bytes(), file.with_name(f"{file.name}-wal").read_bytes()


def _put_back(file: Path, contents: tuple[bytes, bytes], torn: bytes) -> None:
    """Both as they were, and behind the log's last whole frame what a write under way leaves."""
    database, log = contents
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)
    file.write_bytes(database)
    file.with_name(f"{file.name}-wal").write_bytes(log + torn)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _clock(backend: EmbeddedBackend) -> Any:
    return backend._database.clock


def _contexts(view: View) -> Any:
    async def context_of(run_id: str, keys: Sequence[str]) -> Mapping[str, Any]:
        loaded = await view.backend.facts.load(run_id, context=list(dict.fromkeys(keys)))
        return loaded.context

    return context_of


async def _leftovers(findings: Findings, view: View, file: Path) -> None:
    for _ in range(100):
        findings.messages_left = (await view.backend.queue.depth()).total
        findings.claims_left = _claims(file)
        if not findings.messages_left and not findings.claims_left:
            return
        await asyncio.sleep(0.3)


def _claims(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        query = "SELECT count(*) FROM claim WHERE done = 0 AND until > unixepoch('now')"
        return int(connection.execute(query).fetchone()[0])


def _damage(file: Path) -> str:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        answers = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    return "" if answers == ["ok"] else "; ".join(answers)


def _refused(folder: Path) -> int:
    """Lines of the workers' logs that tell of a write that found no room."""
    return sum(
        line.count(b"SQLITE_FULL") or line.count(b"SQLITE_IOERR")
        for path in folder.glob("worker-*.log")
        for line in path.read_bytes().splitlines()
    )

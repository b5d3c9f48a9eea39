"""What survives power loss on the embedded backend, and what may wait for a disk."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from flowcraft.clock import SystemClock
from flowcraft.embedded import EmbeddedBackend, open_embedded
from flowcraft.ports import Claim, ClaimRequest, Commit, ContextWrite, HeaderQuery
from flowcraft.ports.errors import BackendUnavailableError, ConflictError
from flowcraft.records import NodeRecord


class Disk:
    """Syncs as the test wishes; ``kept`` is what would be there after a power cut now."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "runs.db"
        self.kept = folder / "kept"
        self.syncs = 0
        self.failing = False
        self._open = threading.Event()
        self._open.set()

    def hold(self) -> None:
        """Let every sync take until ``release``."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def sync(self, descriptor: int) -> None:
        assert self._open.wait(30)
        if self.failing:
            raise OSError(errno.EIO, "disk error")
        os.fdatasync(descriptor)
        copied = self.kept.with_suffix(f".{self.syncs}")
        copied.mkdir()
        for part in ("", "-wal"):
            shutil.copyfile(f"{self.file}{part}", copied / f"runs.db{part}")
        self.syncs += 1

    def after_power_loss(self) -> Path:
        """A file as the last sync left it."""
        return self.kept.with_suffix(f".{self.syncs - 1}") / "runs.db"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
async def backend(disk: Disk) -> AsyncIterator[EmbeddedBackend]:
    async with open_embedded(disk.file, "orders", sync=disk.sync) as opened:
        yield opened
        disk.release()


def record(key: str) -> NodeRecord:
    return NodeRecord(key=key, node=key, status="completed", output={"of": key})


async def commit(backend: EmbeddedBackend, run_id: str, key: str) -> str:
    await backend.facts.commit(run_id, Commit(create=[record(key)], context=[ContextWrite(key, key)]))
    return key


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = SystemClock().monotonic() + 10
    while not condition():
        assert SystemClock().monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_every_acknowledged_commit_is_there_after_power_loss(
    backend: EmbeddedBackend, disk: Disk
) -> None:
    acknowledged: list[str] = []

    async def work(run: int) -> None:
        for number in range(25):
            acknowledged.append(await commit(backend, f"run {run}", f"{run}.{number}"))

    tasks = [asyncio.create_task(work(run)) for run in range(8)]
    await eventually(lambda: len(acknowledged) >= 90)
    promised, file = list(acknowledged), disk.after_power_loss()
    await asyncio.gather(*tasks)
    async with open_embedded(file, "orders") as survivor:
        for key in promised:
            loaded = await survivor.facts.load(f"run {key.split('.')[0]}", nodes=[key], context=[key])
            assert loaded.records[key].record == record(key)
            assert loaded.context == {key: key}


async def test_a_commit_is_acknowledged_only_after_the_sync(backend: EmbeddedBackend, disk: Disk) -> None:
    disk.hold()
    task = asyncio.create_task(commit(backend, "run", "a"))
    done, _ = await asyncio.wait([task], timeout=0.2)
    assert not done
    disk.release()
    assert await task == "a"


async def test_signals_and_facts_of_other_runs_do_not_wait_for_a_sync(
    backend: EmbeddedBackend, disk: Disk
) -> None:
    await commit(backend, "other", "a")
    disk.hold()
    task = asyncio.create_task(commit(backend, "run", "a"))
    await asyncio.sleep(0)
    await backend.queue.send("hello")
    assert len(await backend.queue.receive(1, 30.0)) == 1
    assert await backend.coordination.claim(ClaimRequest("run", "b", "token", 30.0)) is Claim.CLAIMED
    assert set((await backend.facts.load("other", nodes=["a"])).records) == {"a"}
    assert not task.done()
    disk.release()
    await task


async def test_a_read_shows_nothing_that_power_loss_could_take_back(
    backend: EmbeddedBackend, disk: Disk
) -> None:
    async def headers() -> object:
        return [stored async for page in backend.facts.headers(HeaderQuery()) for stored in page]

    async def records() -> object:
        return [stored async for page in backend.facts.records("run") for stored in page]

    reads: list[Callable[[], Awaitable[object]]] = [
        lambda: backend.facts.load("run", nodes=["a"]),
        lambda: backend.facts.resolved("run", ["a"]),
        lambda: backend.facts.read_header("run"),
        headers,
        records,
    ]
    disk.hold()
    writer = asyncio.create_task(commit(backend, "run", "a"))
    await asyncio.sleep(0)
    readers = [asyncio.ensure_future(read()) for read in reads]
    done, _ = await asyncio.wait(readers, timeout=0.2)
    assert not done
    disk.release()
    await asyncio.gather(writer, *readers)


async def test_a_read_waits_for_what_another_process_wrote(backend: EmbeddedBackend, disk: Disk) -> None:
    async with open_embedded(disk.file, "orders") as other:
        await commit(other, "run", "a")
        before = disk.syncs
        assert set((await backend.facts.load("run", nodes=["a"])).records) == {"a"}
        assert disk.syncs == before + 1


async def test_commits_that_wait_together_share_a_sync(backend: EmbeddedBackend, disk: Disk) -> None:
    disk.hold()
    before = disk.syncs
    tasks = [asyncio.create_task(commit(backend, f"run {number}", "a")) for number in range(50)]
    await asyncio.sleep(0)
    disk.release()
    await asyncio.gather(*tasks)
    assert disk.syncs - before <= 2


async def test_a_conflict_undoes_nothing_of_commits_beside_it(backend: EmbeddedBackend, disk: Disk) -> None:
    await commit(backend, "run", "taken")
    disk.hold()
    keys = ["a", "taken", "b", "taken", "c"]
    tasks = [asyncio.create_task(commit(backend, "run", key)) for key in keys]
    await asyncio.sleep(0)
    disk.release()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [str, ConflictError, str, ConflictError, str]
    async with open_embedded(disk.after_power_loss(), "orders") as survivor:
        assert set((await survivor.facts.load("run", nodes=keys)).records) == {"a", "b", "c", "taken"}


async def test_after_a_failed_sync_nothing_is_promised_any_more(backend: EmbeddedBackend, disk: Disk) -> None:
    await commit(backend, "run", "a")
    disk.failing = True
    with pytest.raises(BackendUnavailableError, match="disk error"):
        await commit(backend, "run", "b")
    disk.failing = False
    with pytest.raises(BackendUnavailableError, match="restart"):
        await commit(backend, "run", "c")
    with pytest.raises(BackendUnavailableError, match="restart"):
        await backend.facts.load("run", nodes=["a"])


async def test_a_cancelled_commit_disturbs_no_other(backend: EmbeddedBackend, disk: Disk) -> None:
    disk.hold()
    cancelled = asyncio.create_task(commit(backend, "run", "a"))
    kept = asyncio.create_task(commit(backend, "run", "b"))
    await asyncio.sleep(0)
    cancelled.cancel()
    disk.release()
    assert await kept == "b"
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_closing_ends_with_everything_on_the_disk(disk: Disk) -> None:
    async with open_embedded(disk.file, "orders", sync=disk.sync) as opened:
        await commit(opened, "run", "a")
        await opened.queue.send("a signal")
    async with open_embedded(disk.file, "orders") as again:
        assert set((await again.facts.load("run", nodes=["a"])).records) == {"a"}
        assert [delivery.body for delivery in await again.queue.receive(1, 30.0)] == ["a signal"]

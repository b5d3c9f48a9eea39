"""Which files the embedded backend takes and refuses, and what a full disk or a lock does to it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.test_header_listing import NOW

from flowcraft.embedded import EmbeddedBackend, durability, open_embedded
from flowcraft.embedded.filesystem import mount_type, network_file_system
from flowcraft.embedded.listing import matching_runs, page_of_headers
from flowcraft.ports import Commit, ContextWrite, HeaderQuery
from flowcraft.ports.errors import BackendRefusedError, BackendUnavailableError
from flowcraft.records import NodeRecord


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
async def backend(file: Path) -> AsyncIterator[EmbeddedBackend]:
    async with open_embedded(file, "orders") as opened:
        yield opened


async def commit(backend: EmbeddedBackend, key: str, value: object = None) -> None:
    record = NodeRecord(key=key, node=key, status="completed")
    await backend.facts.commit("run", Commit(create=[record], context=[ContextWrite(key, value)]))


def read(file: Path) -> bytes:
    return file.read_bytes()


def read_part(path: str, start: int, length: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(length)


def write(file: Path, content: bytes | bytearray) -> None:
    file.write_bytes(content)


def size(path: str | Path) -> int:
    return Path(path).stat().st_size


async def refusal(path: Path | str) -> str:
    with pytest.raises(BackendRefusedError) as caught:
        async with open_embedded(path, "orders"):
            pass
    return str(caught.value)


# ---- opening ----


async def test_the_folder_of_a_new_file_is_created(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "runs.db"
    async with open_embedded(file, "orders") as backend:
        await commit(backend, "a")
    assert size(file) > 0


async def test_what_was_written_is_there_when_the_file_is_opened_again(file: Path) -> None:
    async with open_embedded(file, "orders") as backend:
        await commit(backend, "a", {"x": 1})
        await backend.queue.send("hello")
    assert os.listdir(file.parent) == ["runs.db"]
    async with open_embedded(file, "orders") as backend:
        assert (await backend.facts.load("run", context=["a"])).context == {"a": {"x": 1}}
        assert len(await backend.queue.receive(1, 30.0)) == 1


async def test_a_link_and_a_relative_path_lead_to_the_same_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = file.with_name("link.db")
    link.symlink_to(file)
    async with open_embedded(file, "orders") as backend:
        await commit(backend, "a")
        monkeypatch.chdir(file.parent)
        async with open_embedded("link.db", "orders") as linked:
            monkeypatch.chdir("/")
            await commit(linked, "b")
        assert set((await backend.facts.load("run", nodes=["a", "b"])).records) == {"a", "b"}


async def test_queues_of_one_file_are_apart_and_facts_are_not(file: Path) -> None:
    async with open_embedded(file, "orders") as orders, open_embedded(file, "mails") as mails:
        await mails.queue.send("mail")
        await orders.for_queue("third").queue.send("third")
        assert await orders.queue.receive(1, 30.0) == []
        assert [delivery.body for delivery in await mails.queue.receive(2, 30.0)] == ["mail"]
        await commit(orders, "a")
        assert set((await mails.facts.load("run", nodes=["a"])).records) == {"a"}


async def test_memory_is_a_store_of_its_own() -> None:
    async with open_embedded(":memory:", "orders") as one, open_embedded(":memory:", "orders") as two:
        await one.queue.send("hello")
        assert await two.queue.receive(1, 30.0) == []


async def test_a_closed_backend_is_unavailable_and_ends_who_waits(file: Path) -> None:
    async with open_embedded(file, "orders") as backend:
        waiting = asyncio.create_task(backend.queue.wait(3600.0))
        await asyncio.sleep(0)
    await asyncio.wait_for(waiting, 10)
    with pytest.raises(BackendUnavailableError, match="closed"):
        await backend.queue.send("hello")
    with pytest.raises(BackendUnavailableError, match="closed"):
        await backend.facts.read_header("run")


# ---- refusals ----


async def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    content = b"dear diary, " * 1000
    write(file, content)
    assert "is not a SQLite database; give the run file another name" in await refusal(file)
    assert read(file) == content


async def test_the_database_of_another_program_is_refused_and_left_alone(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE photos (id INTEGER)")
    connection.close()
    before = read(file)
    assert "database of another program; give the run file another name" in await refusal(file)
    assert read(file) == before


async def test_a_file_of_a_newer_version_is_refused_with_the_way_out(file: Path) -> None:
    async with open_embedded(file, "orders"):
        pass
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    message = await refusal(file)
    assert "newer flowcraft (its schema is 99" in message
    assert "upgrade flowcraft-runtime" in message


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "cannot be opened" in await refusal(tmp_path)


async def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "file", b"")
    assert "cannot be created" in await refusal(tmp_path / "file" / "runs.db")


async def test_a_damaged_file_is_refused_and_not_repaired(file: Path) -> None:
    async with open_embedded(file, "orders") as backend:
        for number in range(50):
            await commit(backend, f"n{number}", "x" * 1000)
    content = bytearray(read(file))
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 512] = b"\xff" * 512
    write(file, content)

    async def use() -> None:
        async with open_embedded(file, "orders") as backend:
            await commit(backend, "n0")
            assert [page async for page in backend.facts.records("run")]

    with pytest.raises(BackendRefusedError, match="is damaged; keep a copy"):
        await use()


MOUNTS = r"""
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
server:/export /mnt/with\040blank nfs4 rw,vers=4.2 0 0
//host/share /mnt/share cifs rw 0 0
/dev/vdb /mnt/share/disk xfs rw 0 0
old /srv ext4 rw 0 0
new /srv fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ada/runs.db", "ext4"),
        ("/tmp/runs.db", "tmpfs"),  # noqa: S108
        ("/tmpfile", "ext4"),  # noqa: S108
        ("/mnt/with blank/runs.db", "nfs4"),
        ("/mnt/share/runs.db", "cifs"),
        ("/mnt/share/disk/runs.db", "xfs"),
        ("/srv/runs.db", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_latest_mount_tells_the_file_system(path: str, kind: str) -> None:
    assert mount_type(Path(path), MOUNTS) == kind


def test_this_folder_is_on_no_network_file_system(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) is None


async def test_a_network_file_system_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcraft.embedded.database.network_file_system", lambda _: "nfs4")
    message = await refusal(file)
    assert "network file system (nfs4)" in message
    assert "local disk" in message
    assert os.listdir(file.parent) == []


# ---- disks and locks ----


async def test_a_full_disk_is_unavailable_until_there_is_room(backend: EmbeddedBackend) -> None:
    await commit(backend, "a")
    connection = backend._database._open_connection()
    connection.execute("PRAGMA max_page_count = 60")
    with pytest.raises(BackendUnavailableError, match="the disk is full"):
        await commit(backend, "b", "x" * 1_000_000)
    await backend.queue.send("small things still fit")
    connection.execute("PRAGMA max_page_count = 1000000")
    await commit(backend, "b", "x" * 1_000_000)
    assert set((await backend.facts.load("run", nodes=["a", "b"])).records) == {"a", "b"}


async def test_a_lock_of_another_process_is_awaited_without_stopping_the_loop(
    backend: EmbeddedBackend, file: Path
) -> None:
    await commit(backend, "a")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = [asyncio.create_task(commit(backend, "b")), asyncio.create_task(backend.queue.send("hello"))]
    done, _ = await asyncio.wait(writing, timeout=0.2)
    assert not done
    assert set((await backend.facts.load("run", nodes=["a", "b"])).records) == {"a"}
    other.execute("ROLLBACK")
    await asyncio.gather(*writing)
    assert set((await backend.facts.load("run", nodes=["a", "b"])).records) == {"a", "b"}
    other.close()


async def test_a_lock_that_stays_is_unavailable(
    backend: EmbeddedBackend, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcraft.embedded.database.LOCK_TIMEOUT_S", 0.1)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendUnavailableError, match="locked by another process"):
        await backend.queue.send("hello")
    other.close()
    await backend.queue.send("hello")


async def test_the_log_starts_again_while_commits_go_on_and_none_is_lost(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcraft.embedded.durability.RESTART_PAGES", 500)
    salts: set[bytes] = set()
    kept: list[int] = []
    async with open_embedded(file, "orders") as backend:
        backend._database._checkpointer._every_writes = 100  # type: ignore[union-attr]

        async def work(run: int) -> None:
            number = 0
            while len(salts) < 4:
                record = NodeRecord(key=str(number), node="n", status="completed", output="x" * 6000)
                await backend.facts.commit(f"run {run}", Commit(create=[record]))
                salts.add(read_part(f"{file}-wal", 16, 8))  # changes when the log starts again
                number += 1
            kept.append(number)

        await asyncio.gather(*(work(run) for run in range(8)))
        found = 0
        for run in range(8):
            async for page in backend.facts.records(f"run {run}"):
                found += len(page)
        assert found == sum(kept)


async def test_the_event_loop_is_not_asked_to_wait_while_the_disk_syncs(file: Path) -> None:
    loop_thread = threading.get_ident()
    syncing: list[int] = []

    def sync(descriptor: int) -> None:
        syncing.append(threading.get_ident())
        os.fdatasync(descriptor)

    async with open_embedded(file, "orders", sync=sync) as backend:
        await asyncio.gather(*(commit(backend, f"n{number}") for number in range(20)))
    assert loop_thread not in syncing


# ---- queries ----


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (HeaderQuery(queue="q", changed_since=NOW), "header_changed"),
        (HeaderQuery(queue="q", statuses=["running"]), "header_status"),
        (HeaderQuery(queue="q", statuses=["running", "awaiting"], untouched_since=NOW), "header_status"),
        (HeaderQuery(queue="q", statuses=["running"], due_at=NOW), "header_"),
        (HeaderQuery(queue="q", expired_at=NOW), "header_expired"),
        (HeaderQuery(queue="q", run_ids=["a", "b"]), "sqlite_autoindex_header_1"),
        (HeaderQuery(run_ids=["a", "b"]), "sqlite_autoindex_header_1"),
    ],
)
async def test_a_header_query_looks_at_no_more_headers_than_it_must(
    backend: EmbeddedBackend, query: HeaderQuery, index: str
) -> None:
    connection = backend._database._open_connection()
    for statement, parameters in (matching_runs(query), page_of_headers(query, ["a"])):
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert not any(step.startswith("SCAN header") for step in plan), plan
    plan = [
        row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + matching_runs(query)[0], parameters[1:])
    ]
    assert any(index in step for step in plan), plan


async def test_large_writes_do_not_let_the_log_grow_until_there_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "LOG_BYTES", 1_000_000)
    monkeypatch.setattr(durability, "RESTART_PAGES", 100)
    path = tmp_path / "runs.db"
    async with open_embedded(path, "q") as backend:
        for number in range(200):
            write = ContextWrite(f"key-{number}", "x" * 60_000)
            await backend.facts.commit("run", Commit(context=[write]))
        assert (tmp_path / "runs.db-wal").stat().st_size < 9_000_000

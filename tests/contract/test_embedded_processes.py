"""Several processes on one file of the embedded backend, also when one of them is killed."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowcraft.clock import SystemClock
from flowcraft.embedded import EmbeddedBackend, open_embedded

PROGRAM = Path(__file__).with_name("embedded_worker.py")


@asynccontextmanager
async def process(verb: str, file: Path, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), verb, str(file), name,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def lines(started: asyncio.subprocess.Process) -> list[str]:
    assert started.stdout is not None
    return (await started.stdout.read()).decode().splitlines()


async def line(started: asyncio.subprocess.Process) -> str:
    assert started.stdout is not None
    return (await asyncio.wait_for(started.stdout.readline(), 20)).decode().strip()


async def tell(started: asyncio.subprocess.Process, text: str) -> None:
    assert started.stdin is not None
    started.stdin.write(f"{text}\n".encode())
    await started.stdin.drain()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def missing(backend: EmbeddedBackend, keys: list[str]) -> list[str]:
    """Those of the writer's keys whose record or context key is not there."""
    lost = []
    for key in keys:
        loaded = await backend.facts.load(key.split(".")[0], nodes=[key], context=[key])
        if key not in loaded.records or key not in loaded.context:
            lost.append(key)
    return lost


@pytest.mark.parametrize("shared", [True, False], ids=["beside another process", "alone"])
async def test_a_killed_process_loses_nothing_that_was_acknowledged(file: Path, shared: bool) -> None:
    acknowledged: list[str] = []
    for round_number in range(3):
        async with process("write", file, f"w{round_number}") as writer:
            beside = open_embedded(file, "orders") if shared else None
            if beside is not None:
                await beside.__aenter__()
            acknowledged += [await line(writer) for _ in range(150)]
            writer.kill()
            acknowledged += [text for text in await lines(writer) if text]
            if beside is not None:
                assert await missing(beside, acknowledged) == []
                await beside.__aexit__(None, None, None)
    async with open_embedded(file, "orders") as after:
        assert await missing(after, acknowledged) == []
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_two_processes_share_the_work_and_repeat_none_of_it(file: Path) -> None:
    bodies = [f"job {number}" for number in range(120)]
    async with open_embedded(file, "orders") as backend:
        async with process("consume", file, "one") as one, process("consume", file, "two") as two:
            for body in [*bodies, "stop", "stop"]:
                await backend.queue.send(body)
            taken = await asyncio.wait_for(asyncio.gather(lines(one), lines(two)), 40)
            assert [await started.wait() for started in (one, two)] == [0, 0]
        assert sorted([*taken[0], *taken[1]]) == sorted(bodies)
        stored = [found.record async for page in backend.facts.records("run") for found in page]
        assert sorted(record.key for record in stored) == sorted(bodies)
        assert await backend.coordination.progress(["run"]) == {"run": 120}


async def test_a_waiting_worker_sees_a_message_of_another_process_within_a_second(file: Path) -> None:
    clock = SystemClock()
    async with open_embedded(file, "orders") as backend, process("send", file, "news") as sender:
        assert await line(sender) == "ready"
        waiting = asyncio.create_task(backend.queue.wait(30.0))
        done, _ = await asyncio.wait([waiting], timeout=1.0)  # long enough to poll at the slowest pace
        assert not done
        started = clock.monotonic()
        await tell(sender, "hello")
        await waiting
        assert clock.monotonic() - started < 5.0  # half a second, and what a busy machine adds
        assert [delivery.body for delivery in await backend.queue.receive(1, 30.0)] == ["hello"]


async def test_a_listener_hears_other_processes(file: Path) -> None:
    async with (
        open_embedded(file, "orders") as backend,
        process("send", file, "news") as sender,
        backend.coordination.listen("news") as texts,
    ):
        assert await line(sender) == "ready"
        await tell(sender, "one")
        await tell(sender, "two")
        assert [await asyncio.wait_for(anext(texts), 20) for _ in range(2)] == ["one", "two"]


async def test_many_processes_may_create_the_file_at_once(file: Path) -> None:
    backends = [open_embedded(file, "orders") for _ in range(6)]
    await asyncio.gather(*(backend.__aenter__() for backend in backends))
    for backend in backends:
        await backend.queue.send("hello")
    assert (await backends[0].queue.depth()).visible == 6
    await asyncio.gather(*(backend.__aexit__(None, None, None) for backend in backends))

"""The status mirror on the embedded backend: what it reads, when, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.embedded import open_embedded
from flowcraft.ports import Discharge
from flowcraft.ports.errors import PortError
from flowcraft_api.wire import HeaderDocument
from flowcraft_operator.handlers.mirror import Mirror, MirrorPorts
from flowcraft_operator.handlers.run_record import Key, RunRecord, new_record

QUEUE = "n-orders"


def record_of(name: str) -> RunRecord:
    body = {
        "metadata": {"namespace": "n", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": {"poolRef": {"name": "orders"}},
    }
    return new_record(body, datetime(2026, 3, 1, tzinfo=UTC))


@dataclass
class Watched:
    """A mirror that runs, the runs it is told of, and what it has seen.

    Attributes:
        client: Of the backend that it reads.
        runs: The active runs.
        seen: Run id and status of every header that was passed on; the status is "" for one not found.
        reports: How often reading went well.
        arrivals: How often it was told that work was sent.
    """

    client: Client
    runs: dict[str, RunRecord] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)
    progressed: list[str] = field(default_factory=list)
    reports: int = 0
    arrivals: int = 0
    task: asyncio.Task[None] | None = None

    def start(self, *, poll_s: float = 0.05, sweep_s: float = 60.0) -> Mirror:
        ports = MirrorPorts(
            client=lambda: self.client,
            active=lambda: self.runs,
            seen=self._take,
            progressed=lambda found: self.progressed.append(found.uid),
            report=self._report,
            arrived=self._arrived,
        )
        mirror = Mirror(ports, SystemClock(), poll_s, sweep_s)
        self.task = asyncio.create_task(mirror.run())
        return mirror

    async def until(self, look: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not look():  # noqa: ASYNC110 - the mirror's own clock runs
                await asyncio.sleep(0.01)

    def _take(self, record: RunRecord, document: HeaderDocument | None, etag: str) -> None:
        if document is not None and record.etag == etag:
            return
        record.see_header(document, etag, datetime.now(UTC))
        self.seen.append((record.uid, document["status"] if document else ""))

    def _report(self, error: PortError | None) -> None:
        assert error is None
        self.reports += 1

    def _arrived(self) -> None:
        self.arrivals += 1


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    async with open_embedded(":memory:", QUEUE) as backend:
        client = Client(QUEUE, backend.queue, backend.facts, backend.coordination, SystemClock())
        made = Watched(client)
        yield made
        if made.task is not None:
            made.task.cancel()
            with suppress(asyncio.CancelledError):
                await made.task


async def start(watched: Watched, run_id: str) -> None:
    await watched.client.start(RunRequest(run_id, "order", "1", {"amount": 1}))


async def test_with_no_active_run_nothing_is_read(watched: Watched) -> None:
    await start(watched, "foreign")
    mirror = watched.start(poll_s=0.01)
    await watched.until(lambda: mirror.alive_at > 0)
    for _ in range(20):
        await asyncio.sleep(0.005)  # several polls
    assert (watched.reports, watched.seen) == (0, [])


async def test_a_change_is_seen_and_one_that_is_known_is_not_passed_on_again(watched: Watched) -> None:
    await start(watched, "a")
    watched.runs["a"] = record_of("a")
    watched.start()
    await watched.until(lambda: watched.seen == [("a", "running")])
    before = watched.reports
    await watched.until(lambda: watched.reports > before + 3)
    assert watched.seen == [("a", "running")]
    await watched.client.cancel("a")
    await watched.until(lambda: watched.seen[-1] == ("a", "cancelled"))


async def test_a_run_that_is_asked_for_and_unknown_is_told_to_be_absent(watched: Watched) -> None:
    watched.runs["a"] = record_of("a")
    mirror = watched.start(poll_s=30)
    mirror.look_up("a")
    await watched.until(lambda: watched.seen == [("a", "")])


async def test_a_run_that_was_never_asked_for_is_not_told_to_be_absent(watched: Watched) -> None:
    """It may just be on its way into the backend."""
    watched.runs["a"] = record_of("a")
    watched.start()
    await watched.until(lambda: watched.reports > 3)
    assert watched.seen == []


async def test_a_hint_brings_the_look_forward(watched: Watched) -> None:
    await start(watched, "a")
    watched.runs["a"] = record_of("a")
    watched.start(poll_s=30)
    await watched.until(lambda: watched.seen == [("a", "running")])
    await watched.client.cancel("a")  # publishes a hint, as workers do
    await watched.until(lambda: watched.seen[-1] == ("a", "cancelled"))


async def test_a_hint_of_new_work_is_passed_on(watched: Watched) -> None:
    watched.start(poll_s=30)

    async def hint() -> None:
        while not watched.arrivals:
            await start(watched, f"r{len(watched.seen)}")
            await asyncio.sleep(0.05)

    async with asyncio.timeout(20):
        await hint()


async def test_what_a_poll_missed_is_found_by_the_sweep(watched: Watched) -> None:
    """The run belongs to another queue, so no poll of this one shows it."""
    await watched.client.start(RunRequest("a", "order", queue="elsewhere"))
    watched.runs["a"] = record_of("a")
    mirror = watched.start(sweep_s=0.1)
    mirror.look_up("a")
    await watched.until(lambda: watched.seen == [("a", "running")])
    await watched.client.facts.purge("a")
    await watched.until(lambda: watched.seen[-1] == ("a", ""))


def test_of_two_objects_the_older_one_is_not_taken() -> None:
    kept = record_of("a")
    newer = {
        "metadata": {"namespace": "n", "name": "a", "uid": "a", "resourceVersion": "10"},
        "status": {"phase": "Running"},
    }
    assert kept.absorb(newer)
    older = {**newer, "metadata": {**newer["metadata"], "resourceVersion": "9"}, "status": {}}
    assert not kept.absorb(older)
    assert kept.phase == "Running"
    assert kept.key == Key("n", "a")


def test_progress_of_redis_is_news_only_when_it_grew() -> None:
    kept = record_of("a")
    assert not kept.see_progress(3)
    document: HeaderDocument = {"id": "a", "runId": "a", "progress": {"done": 1, "total": 4}}
    kept.see_header(document, "e", datetime.now(UTC))
    assert not kept.see_progress(1)
    assert kept.see_progress(3)
    assert kept.header is not None
    assert kept.header["progress"] == {"done": 3, "total": 4}


async def test_a_header_of_strange_shape_hides_no_other_runs_progress(watched: Watched) -> None:
    for run_id in ("odd", "good"):
        await start(watched, run_id)
        stored = await watched.client.facts.read_header(run_id)
        assert stored is not None
        shown: Any = {**stored.document, "progress": {"done": 0, "total": 3} if run_id == "good" else "half"}
        await watched.client.facts.replace_header(stored, shown)
        await watched.client.coordination.discharge(Discharge(run_id, "token", progress=2))
        watched.runs[run_id] = record_of(run_id)
    watched.start()
    await watched.until(lambda: watched.progressed == ["good"])
    assert watched.task is not None
    assert not watched.task.done()

"""What lapses on the embedded backend, when, and that it is removed; what waiting costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.manual_clock import ManualClock

from flowcraft.embedded import EmbeddedBackend, open_embedded
from flowcraft.embedded.expiry import EVERY_WRITES
from flowcraft.ports import Arrival, Claim, ClaimRequest, Discharge, JoinArrival

HOUR_S = 3600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def backend(clock: ManualClock) -> AsyncIterator[EmbeddedBackend]:
    async with open_embedded(":memory:", "orders", clock) as opened:
        yield opened


async def turns() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def rows(backend: EmbeddedBackend, table: str) -> int:
    query = f"SELECT count(*) FROM {table}"  # noqa: S608
    return int(backend._database._open_connection().execute(query).fetchone()[0])


async def arrive(backend: EmbeddedBackend, edge: str) -> tuple[Arrival, bool]:
    return await backend.coordination.arrive(JoinArrival("run", "gather", edge, {edge: True}, 3))


async def test_a_done_mark_stays_for_an_hour(backend: EmbeddedBackend, clock: ManualClock) -> None:
    store = backend.coordination
    await store.claim(ClaimRequest("run", "a", "one", 30.0))
    await store.discharge(Discharge("run", "one", done=["a"]))
    await clock.tick(HOUR_S - 1)
    assert await store.claim(ClaimRequest("run", "a", "two", 30.0)) is Claim.DONE
    await clock.tick(1)
    assert await store.claim(ClaimRequest("run", "a", "two", 30.0)) is Claim.CLAIMED


async def test_a_join_stays_for_a_day_after_its_last_use(
    backend: EmbeddedBackend, clock: ManualClock
) -> None:
    assert await arrive(backend, "a") == (Arrival.OPEN, True)
    await clock.tick(23 * HOUR_S)
    assert await arrive(backend, "b") == (Arrival.OPEN, False)
    await clock.tick(23 * HOUR_S)
    assert await arrive(backend, "c") == (Arrival.READY, False)
    await clock.tick(24 * HOUR_S)
    assert await arrive(backend, "c") == (Arrival.OPEN, True)


async def test_counts_stay_for_a_day_after_their_last_use(
    backend: EmbeddedBackend, clock: ManualClock
) -> None:
    store = backend.coordination
    await store.discharge(Discharge("run", "one", activity=2, progress=1))
    await clock.tick(23 * HOUR_S)
    assert await store.discharge(Discharge("run", "one", progress=1)) == 2
    await clock.tick(23 * HOUR_S)
    assert await store.progress(["run"]) == {"run": 2}
    await clock.tick(HOUR_S)
    assert await store.progress(["run"]) == {}
    assert await store.discharge(Discharge("run", "one", activity=1)) == 1


async def test_what_lapsed_is_removed_while_others_work(backend: EmbeddedBackend, clock: ManualClock) -> None:
    store = backend.coordination

    async def some_runs(prefix: str) -> None:
        for number in range(EVERY_WRITES):
            run_id = f"{prefix}{number}"
            await store.claim(ClaimRequest(run_id, "a", "one", 30.0))
            await store.arrive(JoinArrival(run_id, "gather", "a", {"a": True, "b": True}, 3))
            await store.discharge(Discharge(run_id, "one", done=["a"]))

    await some_runs("old")
    await clock.tick(25 * HOUR_S)
    for round_number in range(4):
        await some_runs(f"new{round_number}-")
    live = 4 * EVERY_WRITES
    assert (rows(backend, "claim"), rows(backend, "run_count")) == (live, live)
    assert (rows(backend, "join_state"), rows(backend, "join_edge")) == (live, 2 * live)


async def test_notices_do_not_pile_up(backend: EmbeddedBackend, clock: ManualClock) -> None:
    for _ in range(10):
        for number in range(100):
            await backend.coordination.notify("channel", str(number))
        await clock.tick(61.0)
    assert rows(backend, "notice") < 300


async def test_silent_workers_are_removed(backend: EmbeddedBackend, clock: ManualClock) -> None:
    await backend.coordination.heartbeat("orders", "silent", 1, 15.0)
    await clock.tick(15.0)
    await backend.coordination.heartbeat("orders", "alive", 1, 15.0)
    assert rows(backend, "heartbeat") == 1


async def test_a_waiting_worker_is_woken_by_a_message_of_its_process(backend: EmbeddedBackend) -> None:
    waiting = asyncio.create_task(backend.queue.wait(HOUR_S))
    await asyncio.sleep(0)
    await backend.for_queue("other").queue.send("not for it")
    await turns()
    assert not waiting.done()
    await backend.queue.send("hello")
    await asyncio.wait_for(waiting, 5)


async def test_a_given_back_message_wakes_a_waiting_worker(backend: EmbeddedBackend) -> None:
    await backend.queue.send("hello")
    (delivery,) = await backend.queue.receive(1, HOUR_S)
    waiting = asyncio.create_task(backend.queue.wait(HOUR_S))
    await asyncio.sleep(0)
    await backend.queue.update(delivery, "hello", 0.0)
    await asyncio.wait_for(waiting, 5)


async def test_a_waiting_worker_is_woken_when_a_delay_is_over(
    backend: EmbeddedBackend, clock: ManualClock
) -> None:
    waiting = asyncio.create_task(backend.queue.wait(HOUR_S))
    await turns()
    await backend.queue.send("hello", delay_s=100.0)
    await turns()
    await clock.tick(99.0)
    await turns()
    assert not waiting.done()
    await clock.tick(1.0)
    await asyncio.wait_for(waiting, 5)
    assert len(await backend.queue.receive(1, 30.0)) == 1


async def test_a_message_is_delayed_by_seven_days_at_most(
    backend: EmbeddedBackend, clock: ManualClock
) -> None:
    await backend.queue.send("hello", delay_s=30 * 24 * HOUR_S)
    await clock.tick(7 * 24 * HOUR_S)
    assert len(await backend.queue.receive(1, 30.0)) == 1


class CountingClock(ManualClock):
    """Counts how often somebody goes to sleep."""

    sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await super().sleep(seconds)


async def test_an_idle_worker_looks_at_the_file_about_twice_a_second(tmp_path: Path) -> None:
    clock = CountingClock()
    async with open_embedded(tmp_path / "runs.db", "orders", clock) as backend:
        waiting = asyncio.create_task(backend.queue.wait(60.0))
        while not waiting.done():
            await turns()
            await clock.tick(0.01)
        assert 100 <= clock.sleeps <= 140

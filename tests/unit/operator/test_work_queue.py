from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from flowcraft_operator.handlers.work_queue import WorkQueue
from flowcraft_operator.kube.errors import UnavailableError

Handle = Callable[[str], Awaitable[float | None]]


@asynccontextmanager
async def working(handle: Handle, workers: int = 4) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue("test", handle, workers=workers)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_added_often_while_it_waits_is_handled_once() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def handle(key: str) -> None:
        seen.append(key)
        if key == "last":
            done.set()

    async with working(handle, workers=1) as queue:
        for key in ("a", "a", "b", "a", "last"):
            queue.add(key)
        await done.wait()
    assert seen == ["a", "b", "last"]


async def test_a_key_added_while_it_is_handled_is_handled_once_more_and_never_by_two() -> None:
    running, most, times = 0, 0, 0
    entered, go_on, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(_key: str) -> None:
        nonlocal running, most, times
        running, times = running + 1, times + 1
        most = max(most, running)
        entered.set()
        if times == 2:
            again.set()
        await go_on.wait()
        running -= 1

    async with working(handle) as queue:
        queue.add("a")
        await entered.wait()
        queue.add("a")
        queue.add("a")
        go_on.set()
        await again.wait()
    assert (most, times) == (1, 2)


async def test_different_keys_are_handled_at_once_up_to_the_number_of_workers() -> None:
    barrier = asyncio.Barrier(4)

    async def handle(_key: str) -> None:
        await barrier.wait()

    async with working(handle, workers=3) as queue, asyncio.timeout(5):
        for key in "abc":
            queue.add(key)
        await barrier.wait()


async def test_what_it_returns_is_when_it_is_handled_again_and_an_addition_comes_before_that() -> None:
    times = asyncio.Queue[float]()
    pauses = iter([0.05, 60.0, 60.0])

    async def handle(_key: str) -> float | None:
        times.put_nowait(asyncio.get_running_loop().time())
        return next(pauses)

    async with working(handle) as queue:
        queue.add("a")
        async with asyncio.timeout(5):
            first, second = await times.get(), await times.get()
            queue.add("a")
            third = await times.get()
    assert second - first >= 0.049
    assert third - second < 5


@pytest.mark.parametrize("error", [UnavailableError("away"), ValueError("a defect")])
async def test_a_handling_that_fails_is_repeated_and_counted_and_others_go_on(error: Exception) -> None:
    failed: list[str] = []
    tries = 0
    done, other = asyncio.Event(), asyncio.Event()

    async def handle(key: str) -> None:
        nonlocal tries
        if key == "other":
            other.set()
            return
        tries += 1
        if tries == 1:
            raise error
        done.set()

    queue: WorkQueue[str] = WorkQueue("test", handle, workers=1, failed=lambda name, _: failed.append(name))
    task = asyncio.create_task(queue.run())
    queue.add("broken")
    queue.add("other")
    async with asyncio.timeout(5):
        await other.wait()
        await done.wait()
    assert failed == ["test"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_forgotten_is_not_handled() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def handle(key: str) -> None:
        seen.append(key)
        done.set()

    queue: WorkQueue[str] = WorkQueue("test", handle, workers=1)
    queue.add("gone")
    queue.add("later", 0.01)
    queue.add("kept")
    queue.forget("gone")
    queue.forget("later")
    task = asyncio.create_task(queue.run())
    await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen == ["kept"]


async def test_a_handling_that_hangs_shows_by_its_age() -> None:
    entered = asyncio.Event()

    async def handle(_key: str) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with working(handle) as queue:
        assert queue.oldest_running_s == 0.0
        queue.add("a")
        await entered.wait()
        await asyncio.sleep(0)
        before = queue.oldest_running_s
        await asyncio.sleep(0.01)  # the loop's own time is what is measured
        assert queue.oldest_running_s > before

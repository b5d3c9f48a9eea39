"""What ends a run in memory from outside: a time, a signal, a defect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from flowcraft.memory.control import RunControl
from flowcraft.memory.result import RunResult
from flowcraft.memory.subflows import Asked
from flowcraft.ports.clock import Clock


async def in_time(carrying: Coroutine[Any, Any, RunResult], asked: Asked, clock: Clock) -> RunResult:
    """Await a child run for so long as it may take.

    Raises:
        TimeoutError: it took longer, and was ended.
    """
    limit_s = asked.timeout_s or 0.0
    task = asyncio.get_running_loop().create_task(carrying)
    timer = asyncio.get_running_loop().create_task(clock.sleep(limit_s))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        timer.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    raise TimeoutError(
        f"run {asked.run_id} of blueprint {asked.blueprint.id} failed: it took longer than {limit_s:g} s"
    )


@contextmanager
def signalled(signal: asyncio.Event | None, control: RunControl | None) -> Iterator[None]:
    """Cancel the run when the signal is set."""
    if signal is None or control is None:
        yield
        return

    async def watch() -> None:
        await signal.wait()
        control.cancel()

    if signal.is_set():
        control.cancel()
    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


async def unwrapped(carrying: Awaitable[None]) -> None:
    """A defect in the engine as itself, not in the group of the tasks that met it."""
    try:
        await carrying
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None

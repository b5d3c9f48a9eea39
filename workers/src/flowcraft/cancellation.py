"""Ending an attempt before it ends itself: timeouts by the injected clock, and whose cancellation it was."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from flowcraft.errors import NodeTimeoutError
from flowcraft.node import NodeContext, NodeResult
from flowcraft.ports.clock import Clock

CLEAN_UP_S: Final = 5.0
"""How long an attempt that timed out may clean up before it is left to itself."""


async def within(
    attempt: Coroutine[Any, Any, NodeResult], limit_s: float, context: NodeContext, clock: Clock
) -> NodeResult:
    """Await an attempt for so long by the given clock.

    Raises:
        NodeTimeoutError: it took longer. It was cancelled; a thread that cannot be is left to itself.
    """
    task = asyncio.ensure_future(attempt)
    timer = asyncio.ensure_future(clock.sleep(limit_s))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        expired = asyncio.Event()
        expired.set()
        context.cancelled = expired  # seen by this attempt alone; the caller's event may serve others
    finally:
        timer.cancel()
        await _stop(task, clock)
    raise NodeTimeoutError(f"the attempt took longer than {limit_s:g} s")


async def _stop(task: asyncio.Future[Any], clock: Clock) -> None:
    """Cancel a task and let it clean up for a moment, so that it does not overlap with what comes next."""
    if task.done():
        return
    task.cancel()
    timer = asyncio.ensure_future(clock.sleep(CLEAN_UP_S))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        task.add_done_callback(_retrieve)


def _retrieve(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()  # asked for, so that asyncio does not report it as forgotten


async def slept(delay_s: float, context: NodeContext, clock: Clock) -> bool:
    """Sleep through a short delay; False when the node was cancelled meanwhile."""
    try:
        await clock.sleep(delay_s)
    except asyncio.CancelledError:
        if not context.cancelled.is_set():
            raise
        uncancel()
        return False
    return True


def being_cancelled() -> bool:
    """Whether somebody has asked the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def uncancel() -> None:
    """Take such requests as answered: the task goes on."""
    task = asyncio.current_task()
    while task is not None and task.cancelling() > 0:
        task.uncancel()

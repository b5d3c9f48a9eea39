"""Who of a run in memory acts when: lanes for what is ready, alarms for what waits for a time, the stop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from flowcraft.engine.keys import NodeKey
from flowcraft.memory.control import RunControl
from flowcraft.ports.clock import Clock

BREATH_S: Final = 0.01
"""How long nodes that never block may hold the event loop."""


class Lanes:
    """Acts on ready node keys, so many at a time.

    Lanes are for nodes that block: while one waits, another begins. Where none does, the caller's own task is
    the only lane there is, and a node costs no task.

    Attributes:
        ready: Node keys to act on.
        stopped: Set when nothing more is to begin; nodes see it as ``ctx.cancelled``.
        cancelled: The run was cancelled from outside.
        held: Something was ready and did not begin, because the run is paused.
    """

    def __init__(self, clock: Clock, concurrency: int, control: RunControl | None) -> None:
        self.ready: deque[str] = deque()
        self.stopped = asyncio.Event()
        self.cancelled = self.held = False
        self._clock = clock
        self._concurrency = concurrency
        self._control = control
        self._running = 0
        self._starting = False
        self._executing: set[asyncio.Task[Any]] = set()
        self._alarms: set[asyncio.Task[None]] = set()
        self._breath_at = 0.0

    async def carry_on(
        self, act: Callable[[str], Awaitable[None]], alarms: Iterable[tuple[str, float]] = ()
    ) -> None:
        """Act until nothing is ready and no alarm is set; ``alarms`` are keys and seconds to begin with."""
        self._act = act
        self._group = asyncio.TaskGroup()
        self._breath_at = asyncio.get_running_loop().time() + BREATH_S
        control = self._control
        forget = control.listen(self._heard) if control is not None else None
        try:
            async with self._group:
                for key, delay_s in alarms:
                    self.set_alarm(key, delay_s)
                self._heard()
                await self._lane()
        finally:
            del self._act, self._group  # what acts knows these lanes: garbage without a cycle costs less
            if forget is not None:
                forget()

    def set_alarm(self, key: str, delay_s: float) -> None:
        """Have a node key acted on again after so many seconds; while the run is paused, when it goes on."""
        if self._control is not None and self._control.pausing:
            self.held = True
            return
        task = self._group.create_task(self._alarm(key, delay_s))
        self._alarms.add(task)
        task.add_done_callback(self._alarms.discard)

    def stop(self) -> None:
        """Tell what executes, and let nothing else begin."""
        self.stopped.set()
        current = asyncio.current_task()
        for task in (*self._executing, *self._alarms):
            if task is not current:
                task.cancel()

    def _heard(self) -> None:
        """Do what was asked for from outside, if anything was."""
        control = self._control
        if control is None:
            return
        if control.cancelling and not self.stopped.is_set():
            self.cancelled = True
            self.stop()
        elif control.pausing:
            self.held = self.held or bool(self._alarms)
            for task in self._alarms:
                task.cancel()

    async def _lane(self) -> None:
        """Act on ready node keys, one after the other, until there are none."""
        self._starting = False
        self._running += 1
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  coroutines run in tasks
        clock = asyncio.get_running_loop().time
        try:
            while self.ready and not self.stopped.is_set():
                key = self.ready.popleft()
                if self._control is not None and not self._control.admits(key, NodeKey.parse(key).node):
                    self.held = True
                    continue
                if self.ready:
                    self._offer()
                self._executing.add(task)
                try:
                    await self._act(key)
                finally:
                    self._executing.discard(task)
                if clock() >= self._breath_at:
                    await asyncio.sleep(0)
                    self._breath_at = clock() + BREATH_S
        finally:
            self._running -= 1

    def _offer(self) -> None:
        """Let one more lane begin as soon as those that run block."""
        if self.ready and not self._starting and self._running < self._concurrency:
            self._starting = True
            self._group.create_task(self._lane())

    async def _alarm(self, key: str, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        self.ready.append(key)
        self._offer()

"""Who of a run in memory acts when: lanes for what is ready, alarms for what waits for a time, the stop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import copy_context
from time import monotonic
from types import coroutine
from typing import Any, Final

from flowcraft.engine.keys import NodeKey
from flowcraft.memory.control import RunControl
from flowcraft.ports.clock import Clock

BREATH_S: Final = 0.01
"""How long nodes that never block may hold the event loop."""

Turn = Coroutine[Any, Any, None]
"""What one node key does when it is its turn."""


class Lanes:
    """Acts on ready node keys, so many at a time.

    A turn is begun by hand, outside of any task. If it ends without having waited for anything, the next one
    follows; else its lane waits with it, and another lane begins. So a run whose nodes never block is one
    loop: no node costs a task, nor does the run.

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
        self._group: asyncio.TaskGroup | None = None
        self._running = 0
        self._starting = False
        self._executing: set[asyncio.Task[Any]] = set()
        self._unset: list[tuple[str, float]] = []
        self._alarms: set[asyncio.Task[None]] = set()
        self._breath_at = 0.0

    async def carry_on(self, act: Callable[[str], Turn], alarms: Iterable[tuple[str, float]] = ()) -> None:
        """Act until nothing is ready and no alarm is set; ``alarms`` are keys and seconds to begin with."""
        self._act = act
        self._context = copy_context()  # a turn that waits may have set variables that are its own
        self._breath_at = monotonic() + BREATH_S
        control = self._control
        forget = control.listen(self._heard) if control is not None else None
        try:
            for key, delay_s in alarms:
                self.set_alarm(key, delay_s)
            self._heard()
            waiting = self._until_one_waits()
            if waiting is not None or self._unset:
                await self._in_tasks(waiting)
        finally:
            del self._act, self._context  # what acts knows these lanes: garbage without a cycle costs less
            if forget is not None:
                forget()

    def set_alarm(self, key: str, delay_s: float) -> None:
        """Have a node key acted on again after so many seconds; while the run is paused, when it goes on."""
        if self._control is not None and self._control.pausing:
            self.held = True
        elif self._group is None:
            self._unset.append((key, delay_s))
        else:
            task = self._group.create_task(self._alarm(key, delay_s), context=self._context.copy())
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
            self.held = self.held or bool(self._alarms) or bool(self._unset)
            for task in self._alarms:
                task.cancel()

    def _until_one_waits(self) -> Turn | None:
        """Act on ready node keys until a turn waits: what is left of that; None when nothing is ready."""
        ready, stopped, act, control = self.ready, self.stopped, self._act, self._control
        while ready and not stopped.is_set():
            key = ready.popleft()
            if control is not None and not control.admits(key, NodeKey.parse(key).node):
                self.held = True
                continue
            turn = act(key)
            try:
                awaited = turn.send(None)
            except StopIteration:
                if monotonic() >= self._breath_at:
                    return self._breath()
            else:
                return self._rest(turn, awaited)
        return None

    async def _in_tasks(self, waiting: Turn | None) -> None:
        """Go on in lanes that are tasks; the caller's own is the first of them."""
        try:
            async with asyncio.TaskGroup() as self._group:
                unset, self._unset = self._unset, []
                if not self.stopped.is_set():
                    for key, delay_s in unset:
                        self.set_alarm(key, delay_s)
                await self._lane(waiting)
        finally:
            self._group = None

    async def _lane(self, waiting: Turn | None = None) -> None:
        """Act on ready node keys until there are none, once the turn that waits is over."""
        self._starting = False
        self._running += 1
        try:
            waiting = waiting or self._until_one_waits()
            while waiting is not None:
                await waiting
                waiting = self._until_one_waits()
        finally:
            self._running -= 1

    async def _rest(self, turn: Turn, awaited: Any) -> None:
        """A turn that waits, to its end; meanwhile another lane may act."""
        self._offer()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  lanes run in tasks
        self._executing.add(task)
        try:
            await _resumed(turn, awaited)
        finally:
            self._executing.discard(task)

    async def _breath(self) -> None:
        """Let everybody else in the event loop have a turn."""
        await asyncio.sleep(0)
        self._breath_at = monotonic() + BREATH_S

    def _offer(self) -> None:
        """Let one more lane begin."""
        if (
            self._group is not None
            and self.ready
            and not self._starting
            and self._running < self._concurrency
        ):
            self._starting = True
            self._group.create_task(self._lane(), context=self._context.copy())

    async def _alarm(self, key: str, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        self.ready.append(key)
        self._offer()


@coroutine
def _resumed(turn: Turn, awaited: Any) -> Generator[Any, Any, None]:
    """Await a turn that was begun by hand and now waits for ``awaited``."""
    try:
        while True:
            try:
                sent = yield awaited
            except GeneratorExit:
                turn.close()
                raise
            except BaseException as error:
                awaited = turn.throw(error)
            else:
                awaited = turn.send(sent)
    except StopIteration:
        return

"""Who hears of a run's events: subscribers, plain or async, none of which can harm a run."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, cast

from flowcraft.events import BY_TYPE, Event

Subscriber = Callable[[Event], Awaitable[None] | None]
MAX_PENDING: Final = 100_000
"""Events that wait for one slow async subscriber; more than that are dropped, and it is told in the log."""
MAX_AT_ONCE: Final = 500


class EventSink(Protocol):
    """Takes events many at a time, in order: an event store."""

    async def store_many(self, events: Sequence[Event]) -> None:
        """Keep these events, in this order."""
        ...


class EventBus:
    """Hands events to its subscribers in the order in which they happened.

    A plain function is called at once, in the event loop: it must not block. An async one, and an event
    store, get theirs from a task of their own; ``drain`` awaits them. What a subscriber raises is logged.
    """

    def __init__(self, *subscribers: Subscriber) -> None:
        self._plain: list[tuple[frozenset[type[Event]] | None, Callable[[Event], Any]]] = []
        self._pumps: list[tuple[frozenset[type[Event]] | None, _Pump]] = []
        self.listening = False
        """Whether anybody listens; while nobody does, no event is made."""
        for subscriber in subscribers:
            self.subscribe(subscriber)

    def subscribe(self, subscriber: Subscriber | EventSink, *kinds: type[Event] | str) -> Callable[[], None]:
        """Let a function or an event store hear of events, all of them or those of some kinds.

        Returns:
            What ends the subscription.

        Raises:
            ValueError: there is no event type of a name given.
        """
        wanted = frozenset(_kind(kind) for kind in kinds) or None
        store_many = getattr(subscriber, "store_many", None)
        if store_many is not None:
            return self._add(self._pumps, (wanted, _Pump(store_many)))
        function = cast("Callable[[Event], Any]", subscriber)
        if _is_async(function):
            return self._add(self._pumps, (wanted, _Pump(_one_by_one(function))))
        return self._add(self._plain, (wanted, function))

    def emit(self, event: Event) -> None:
        """Tell everybody who listens; returns at once, and never raises."""
        kind = type(event)
        for wanted, function in tuple(self._plain):
            if wanted is None or kind in wanted:
                try:
                    function(event)
                except Exception as error:
                    _tell(function, error)
        for wanted, pump in tuple(self._pumps):
            if wanted is None or kind in wanted:
                pump.put(event)

    async def drain(self) -> None:
        """Return when the async subscribers of this event loop have got everything that was told so far."""
        for _, pump in tuple(self._pumps):
            await pump.drain()

    def _add(self, listeners: list[Any], listener: Any) -> Callable[[], None]:
        listeners.append(listener)
        self.listening = True

        def end() -> None:
            if listener in listeners:
                listeners.remove(listener)
            self.listening = bool(self._plain or self._pumps)

        return end


class _Pump:
    """Feeds one async subscriber, from the loop in which the events happen."""

    def __init__(self, deliver: Callable[[Sequence[Event]], Awaitable[None]]) -> None:
        self._deliver = deliver
        self._pending: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def put(self, event: Event) -> None:
        if len(self._pending) >= MAX_PENDING:
            self._dropped += 1
            return
        self._pending.append(event)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # told from outside of a loop: it goes out with the next one that is told in one
        task = self._task
        if task is None or task.done() or task.get_loop() is not loop:  # the loop of an earlier run is gone
            self._task = loop.create_task(self._run())

    async def drain(self) -> None:
        task = self._task
        if task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop():
            await asyncio.shield(task)

    async def _run(self) -> None:
        while self._pending:
            events = [self._pending.popleft() for _ in range(min(len(self._pending), MAX_AT_ONCE))]
            try:
                await self._deliver(events)
            except Exception as error:
                _tell(self._deliver, error, lost=len(events))
            if self._dropped:
                _warn("an event subscriber is too slow; events were dropped", dropped=self._dropped)
                self._dropped = 0


def _one_by_one(function: Callable[[Event], Any]) -> Callable[[Sequence[Event]], Awaitable[None]]:
    async def deliver(events: Sequence[Event]) -> None:
        for event in events:
            try:
                await function(event)
            except Exception as error:
                _tell(function, error)

    return deliver


def _is_async(function: Callable[..., Any]) -> bool:
    call = type(function).__call__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _kind(kind: type[Event] | str) -> type[Event]:
    if not isinstance(kind, str):
        return kind
    if kind not in BY_TYPE:
        raise ValueError(f"there is no event type {kind!r}; there are {', '.join(BY_TYPE)}")
    return BY_TYPE[kind]


def _tell(subscriber: object, error: Exception, **facts: Any) -> None:
    name = getattr(subscriber, "__qualname__", type(subscriber).__name__)
    _warn("an event subscriber failed", subscriber=name, error=f"{type(error).__name__}: {error}", **facts)


def _warn(text: str, **facts: Any) -> None:
    import structlog  # noqa: PLC0415  half of the start of a command that logs nothing

    structlog.get_logger(__name__).warning(text, **facts)

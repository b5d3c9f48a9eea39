"""The run's context as the code of one node sees it: reads, and writes that appear with its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Final, TypeVar

from flowcraft.errors import NonRetryableError
from flowcraft.json_values import NotJsonError, is_unicode
from flowcraft.serializer import JSON, Serializer

T = TypeVar("T")
MAX_KEY_BYTES: Final = 255
_RESERVED: Final = ("_outputs.", "_inputs.")
_ENGINES: Final = "_loop."
"""What the engine writes down of loops (``engine/marks.py``); of large values it writes ``_large``."""


class Missing:
    """The type of ``MISSING``: what a reader gives for a context key that does not exist."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()
ContextReader = Callable[[str], Awaitable[Any]]
"""Reads one committed context key; gives ``MISSING`` where there is none."""


async def nothing_stored(_key: str) -> Any:
    """The reader of a run without context."""
    return MISSING


class RunContext:
    """The run's shared keys, as one attempt of a node sees them.

    Writes are kept here and appear with the node's record, all of them or none; a failed attempt leaves
    nothing behind. A node reads its own writes.
    """

    __slots__ = ("_begun", "_loop", "_reader", "serializer", "writes")

    def __init__(self, reader: ContextReader = nothing_stored) -> None:
        self._reader = reader
        self.serializer: Serializer = JSON
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun: list[tuple[str, Coroutine[Any, Any, None]]] = []
        self.writes: dict[str, Any] = {}
        """Value by key, ``MISSING`` for a deleted one: what the engine commits with the record."""

    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, the caller's own copy; ``default`` where there is none."""
        value = self.writes[key] if key in self.writes else await self._reader(key)
        return default if value is MISSING else self.serializer.decode(value)

    async def has(self, key: str) -> bool:
        """Whether the key exists, null included."""
        return (self.writes[key] if key in self.writes else await self._reader(key)) is not MISSING

    def set(self, key: str, value: Any) -> Coroutine[Any, Any, None]:
        """Write a key when the node completes. To be awaited: the node fails where that was forgotten.

        Raises:
            ValueError: the value cannot be kept as JSON, or the key is empty, too long or reserved.
        """
        return self._to_await(f"set({key!r}, …)", self._set(key, value))

    def delete(self, key: str) -> Coroutine[Any, Any, None]:
        """Remove a key when the node completes; one that does not exist is no error. To be awaited."""
        return self._to_await(f"delete({key!r})", self._delete(key))

    @property
    def blocking(self) -> BlockingRunContext:
        """The same for a synchronous node, which runs in a thread of its own."""
        if self._loop is None:
            raise RuntimeError(
                "ctx.context.blocking is for synchronous nodes; in an async one await ctx.context.get(…)"
            )
        return BlockingRunContext(self, self._loop)

    def serve_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a synchronous node use ``blocking``; reads are made on this loop."""
        self._loop = loop

    def require_awaited(self) -> None:
        """Refuse the result of an attempt that wrote without awaiting: its writes would be lost.

        Raises:
            NonRetryableError: there is such a write; the message names it.
        """
        if not self._begun:
            return
        forgotten = [call for call, write in self._begun if getcoroutinestate(write) == CORO_CREATED]
        self.drop_unawaited()
        if forgotten:
            raise NonRetryableError(
                f"ctx.context.{forgotten[0]} was not awaited, so nothing would be written; write "
                f"`await` before it, or in a node that is not async ctx.context.blocking.{forgotten[0]}"
            )

    def drop_unawaited(self) -> None:
        """Forget writes that nobody awaited; the attempt that began them has failed anyway."""
        for _, write in self._begun:
            if getcoroutinestate(write) == CORO_CREATED:
                write.close()
        self._begun.clear()

    def _to_await(self, call: str, write: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
        self._begun.append((call, write))
        return write

    async def _set(self, key: str, value: Any) -> None:
        check_key(key)
        try:
            self.writes[key] = self.serializer.encode(value)
        except NotJsonError as error:
            raise NotJsonError(f"context key {key!r}: {error}") from None

    async def _delete(self, key: str) -> None:
        check_key(key)
        self.writes[key] = MISSING


class BlockingRunContext:
    """``RunContext`` with calls that block the calling thread instead of being awaited."""

    __slots__ = ("_context", "_loop")

    def __init__(self, context: RunContext, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; ``default`` where there is none."""
        return self._wait(self._context.get(key, default))

    def has(self, key: str) -> bool:
        """Whether the key exists, null included."""
        return self._wait(self._context.has(key))

    def set(self, key: str, value: Any) -> None:
        """Write a key when the node completes."""
        self._wait(self._context.set(key, value))

    def delete(self, key: str) -> None:
        """Remove a key when the node completes."""
        self._wait(self._context.delete(key))


def check_key(key: str) -> None:
    """Refuse what cannot be the name of a user's context key.

    Raises:
        ValueError: with what is wrong.
    """
    if not isinstance(key, str) or not key:
        raise ValueError(f"a context key is a string that is not empty, not {key!r}")
    if not is_unicode(key):
        raise ValueError(f"the context key {key[:40]!r} has half of a surrogate pair, which is not Unicode")
    if len(key) * 4 > MAX_KEY_BYTES and len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"the context key {key[:40]!r}… is longer than {MAX_KEY_BYTES} bytes")
    if key.startswith(_RESERVED) or key in {"_outputs", "_inputs"}:
        raise ValueError(f"the context key {key!r} is reserved: a node's output is written by returning it")
    if key.startswith(_ENGINES) or key == "_large":
        raise ValueError(f"the context key {key!r} is reserved for the engine's own; choose another name")

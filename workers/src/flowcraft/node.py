"""What a node's code sees: its context, its result, and the class form of a node."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Final, Generic

from typing_extensions import TypeVar

from flowcraft.definitions import NodeDefinition
from flowcraft.errors import NonRetryableError
from flowcraft.json_values import NotJsonError, detached, is_unicode
from flowcraft.loggers import bound
from flowcraft.serializer import JSON, Serializer
from flowcraft.values import value_class

T = TypeVar("T")
Input = TypeVar("Input", default=Any)
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


@value_class
class NodeResult:
    """What a node gives back.

    Attributes:
        output: JSON; the input of the nodes behind its taken edges.
        action: Chooses the edges of this action.
        fallback_executed: The fallback gave this result (set by the executor).
        dynamic_nodes: Nodes to run before its edges are taken, as definitions or upstream's JSON, with ids of
            their own. Their records are ``<node key>[<id>]``.
    """

    output: Any = None
    action: str | None = None
    fallback_executed: bool = False
    dynamic_nodes: Sequence[NodeDefinition | Mapping[str, Any]] = ()


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


ProgressReport = Callable[[float, float], None]
"""Takes what is done and what there is to do; called from any thread."""


class NodeContext(Generic[Input]):
    """What a node's code is called with; one object an attempt.

    ``NodeContext[Order]`` as the annotation of a node's parameter makes ``input`` an ``Order``.

    Attributes:
        input: The node's input.
        params: Static parameters of the blueprint; not to be changed.
        context: The run's shared keys.
        run_id: The run.
        node_id: The node in the blueprint.
        node_key: Its place in the run: the id, with rounds and child index where there are any.
        attempt: 1 for the first.
        dependencies: What the app gives to all its nodes.
        cancelled: Set when the attempt's result is no longer wanted: run cancelled, timeout, claim lost.
    """

    __slots__ = (
        "_given_logger",
        "_idempotency_key",
        "_logger",
        "_report",
        "attempt",
        "cancelled",
        "context",
        "dependencies",
        "input",
        "node_id",
        "node_key",
        "params",
        "run_id",
    )

    def __init__(  # noqa: PLR0913  one argument per fact, all by name
        self,
        *,
        input: Any = None,  # noqa: A002  upstream's word, and the one users read
        params: Mapping[str, Any] | None = None,
        context: RunContext | None = None,
        run_id: str = "",
        node_id: str = "",
        node_key: str = "",
        attempt: int = 1,
        idempotency_key: str = "",
        dependencies: Mapping[str, Any] | None = None,
        cancelled: asyncio.Event | None = None,
        report: ProgressReport | None = None,
    ) -> None:
        self.input: Input = input
        self.params: Mapping[str, Any] = {} if params is None else params
        self.context = RunContext() if context is None else context
        self.run_id = run_id
        self.node_id = node_id
        self.node_key = node_key or node_id
        self.attempt = attempt
        self._idempotency_key = idempotency_key
        self.dependencies: Mapping[str, Any] = {} if dependencies is None else dependencies
        self.cancelled = asyncio.Event() if cancelled is None else cancelled
        self._given_logger: Any = None
        self._logger: Any = None
        self._report = report

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt, whatever crashes; hand it to services that take one."""
        return self._idempotency_key or f"{self.run_id}:{self.node_key}"

    def progress(self, done: float, total: float | None = None) -> None:
        """Tell how far this node is, as often as you like; `flowcraft get` and `describe` show it.

        Costs nothing to speak of: at most every few seconds the newest word is passed on.

        Args:
            done: What is done, in any unit; without ``total`` a share from 0 to 1.
            total: What there is to do, in the same unit.
        """
        if self._report is not None:
            self._report(done, 1.0 if total is None else total)

    def detach(self, serializer: Serializer = JSON, logger: Any = None) -> None:
        """Give the node's code its own copy of input and params, so that what it changes stays its own.

        Args:
            serializer: Reads the input, and reads and writes context keys.
            logger: What ``ctx.logger`` is made of; see ``loggers.bound``.

        Raises:
            InputError: the input needs a type that this process does not know.
        """
        self._given_logger = logger
        self.context.serializer = serializer
        self.input = serializer.decode(self.input)
        if self.params:
            self.params = detached(self.params)

    @property
    def logger(self) -> Any:
        """A logger, structlog's unless the app has another, that names run, node key and attempt."""
        if self._logger is None:
            self._logger = bound(
                self._given_logger, run_id=self.run_id, node_key=self.node_key, attempt=self.attempt
            )
        return self._logger

    @property
    def signal(self) -> asyncio.Event:
        """Upstream's name of ``cancelled``."""
        return self.cancelled


class BaseNode(ABC):
    """A node as a class: ``prep``, then ``exec`` (the only part that is retried), then ``post``.

    One instance lives for one execution. Methods may be async or plain; plain ones run in a thread. What a
    method takes behind its context are dependencies, as in a function: ``exec(self, it, ctx, bank: Bank)``.
    """

    def __init__(self, params: Mapping[str, Any] | None = None, node_id: str = "") -> None:
        self.params: Mapping[str, Any] = params or {}
        self.node_id = node_id

    async def prep(self, ctx: NodeContext, *_: Any, **__: Any) -> Any:
        """Collect what ``exec`` needs; the node's input, unless overridden."""
        return ctx.input

    @abstractmethod
    async def exec(self, prepared: Any, ctx: NodeContext, *_: Any, **__: Any) -> Any:
        """Do the work; a ``NodeResult``, or a plain value that becomes its output."""

    async def post(self, result: NodeResult, _ctx: NodeContext, *_: Any, **__: Any) -> Any:
        """Finish the result of ``exec`` or ``fallback``."""
        return result

    async def fallback(self, error: BaseException, _ctx: NodeContext, *_: Any, **__: Any) -> Any:
        """Give a result when the attempts of ``exec`` are used up; raises the error, unless overridden."""
        raise error

    async def recover(  # noqa: B027  optional on purpose
        self, error: BaseException, ctx: NodeContext, *_: Any, **__: Any
    ) -> None:
        """Clean up after a failure that ends the node; what it raises is logged and changes nothing."""


NodeFunction = Callable[[NodeContext], Any]
NodeCode = NodeFunction | type[BaseNode]
"""A node's code: async function, plain function (runs in a thread), or ``BaseNode`` class."""


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

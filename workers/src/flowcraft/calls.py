"""Calling a node's code: async functions, plain functions in threads, classes with their phases."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Protocol, cast

import structlog
from pydantic import ValidationError

from flowcraft.errors import FatalError, InputError, OutputError
from flowcraft.implementation import NodeImplementation
from flowcraft.json_values import NotJsonError, plain_json
from flowcraft.node import BaseNode, NodeContext, NodeFunction, NodeResult

_log = structlog.get_logger(__name__)


class PhaseFailedError(Exception):
    """A phase of a class node failed that is never tried again; the cause is what it raised."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class NodeCall(Protocol):
    """One execution of a node: attempts, and what is left when they are used up."""

    async def attempt(self, context: NodeContext) -> NodeResult:
        """Try once. Raises what the code raises; ``PhaseFailedError`` when trying again is no use."""
        ...

    async def give_up(self, context: NodeContext, error: BaseException) -> NodeResult:
        """The code's own replacement for a result. Raises the error, or what the replacement raises."""
        ...

    async def recover(self, context: NodeContext, error: BaseException) -> None:
        """Let the code clean up after its final failure."""
        ...


def node_call(implementation: NodeImplementation, threads: Executor | None) -> NodeCall:
    """An execution of this implementation; synchronous code runs in ``threads``."""
    if implementation.kind == "class":
        return _ClassCall(implementation, threads)
    return _FunctionCall(implementation, threads)


class _FunctionCall:
    __slots__ = ("_implementation", "_threads")

    def __init__(self, implementation: NodeImplementation, threads: Executor | None) -> None:
        self._implementation = implementation
        self._threads = threads

    async def attempt(self, context: NodeContext) -> NodeResult:
        implementation = self._implementation
        if implementation.input_type is not None:
            _validate_input(implementation, context)
        code = cast("NodeFunction", implementation.code)
        if implementation.kind == "async":
            return _result(await code(context))
        return _result(await _in_thread(code, (context,), context, self._threads))

    async def give_up(self, _context: NodeContext, error: BaseException) -> NodeResult:
        raise error

    async def recover(self, context: NodeContext, error: BaseException) -> None:
        """Functions have nothing to clean up with."""


class _ClassCall:
    """Keeps the instance and what ``prep`` gave, and wrote, over the attempts of ``exec``."""

    __slots__ = ("_executing", "_implementation", "_node", "_prepared", "_threads", "_writes")

    def __init__(self, implementation: NodeImplementation, threads: Executor | None) -> None:
        self._implementation = implementation
        self._threads = threads
        self._node: BaseNode | None = None
        self._prepared: tuple[Any] | None = None
        self._writes: dict[str, Any] = {}
        self._executing = False

    async def attempt(self, context: NodeContext) -> NodeResult:
        node = await self._prepare(context)
        context.context.writes.update(self._writes)
        assert self._prepared is not None  # noqa: S101  set by _prepare
        self._executing = True
        result = _result(await self._call(node.exec, self._prepared[0], context))
        self._executing = False
        return await self._phase(node.post, result, context)

    async def give_up(self, context: NodeContext, error: BaseException) -> NodeResult:
        node = self._node
        if node is None or not self._executing or isinstance(error, FatalError):
            raise error
        context.context.writes.clear()
        context.context.writes.update(self._writes)
        result = _result(await self._call(node.fallback, error, context))
        return await self._phase(node.post, result, context)

    async def recover(self, context: NodeContext, error: BaseException) -> None:
        if self._node is None:
            return
        try:
            await self._call(self._node.recover, error, context)
        except Exception as failure:
            _log.warning(
                "recover failed", node_key=context.node_key, run_id=context.run_id, error=str(failure)
            )

    async def _prepare(self, context: NodeContext) -> BaseNode:
        if self._node is not None and self._prepared is not None:
            return self._node
        try:
            if self._implementation.input_type is not None:
                _validate_input(self._implementation, context)
            node = cast("type[BaseNode]", self._implementation.code)(context.params, context.node_id)
            self._node = node
            self._prepared = (await self._call(node.prep, context),)
        except Exception as error:
            raise PhaseFailedError(error) from error
        self._writes = dict(context.context.writes)
        return node

    async def _phase(
        self, method: Callable[..., Any], result: NodeResult, context: NodeContext
    ) -> NodeResult:
        try:
            return _result(await self._call(method, result, context))
        except Exception as error:
            raise PhaseFailedError(error) from error

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(method):
            return await method(*arguments)
        context: NodeContext = arguments[-1]
        return await _in_thread(method, arguments, context, self._threads)


async def _in_thread(
    code: Callable[..., Any], arguments: tuple[Any, ...], context: NodeContext, threads: Executor | None
) -> Any:
    loop = asyncio.get_running_loop()
    context.context.serve_thread(loop)
    variables = contextvars.copy_context()

    def run() -> Any:
        try:
            return variables.run(code, *arguments)
        except StopIteration as error:  # a future cannot carry it
            raise RuntimeError("the node raised StopIteration") from error

    value = await loop.run_in_executor(threads, run)
    return await value if inspect.isawaitable(value) else value


def _validate_input(implementation: NodeImplementation, context: NodeContext) -> None:
    assert implementation.input_type is not None  # noqa: S101  checked by the callers, off the hot path
    try:
        context.input = implementation.input_type.validate_python(context.input)
    except ValidationError as error:
        places = [f"{_place(line['loc'])}: {line['msg']}" for line in error.errors(include_url=False)[:3]]
        more = f" (and {error.error_count() - 3} more)" if error.error_count() > 3 else ""
        raise InputError(
            f"the input of node {context.node_key} is wrong: {'; '.join(places)}{more}"
        ) from None


def _place(location: tuple[int | str, ...]) -> str:
    return "input" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _result(value: Any) -> NodeResult:
    """What code gave back, as a result whose output is plain JSON."""
    if isinstance(value, NodeResult):
        output, action = value.output, value.action or None
        if action is not None and not isinstance(action, str):
            raise OutputError(f"a result's action is a string or None, not {action!r}")
    else:
        output, action = value, None
    try:
        return NodeResult(plain_json(output), action)
    except NotJsonError as error:
        raise OutputError(f"the node's output cannot be stored: {error}") from None

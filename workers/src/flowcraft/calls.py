"""Calling a node's code: async functions, plain functions in threads, classes with their phases."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import structlog
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from flowcraft.dependencies import dependencies_of
from flowcraft.engine.making import read_dynamic_nodes
from flowcraft.errors import FatalError, InputError, OutputError
from flowcraft.implementation import NodeImplementation
from flowcraft.json_values import NotJsonError, is_unicode
from flowcraft.node import BaseNode, NodeContext, NodeFunction, NodeResult
from flowcraft.signature import Signature

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
        implementation, signature = self._implementation, self._implementation.signature
        if signature.input_type is not None:
            _validate_input(signature.input_type, context)
        code: Callable[..., Any] = cast("NodeFunction", implementation.code)
        if not signature.plain:
            code = partial(code, **await _named_arguments(signature, context))
        arguments = (context,) if signature.plain else ()
        if implementation.kind == "async":
            value = await code(*arguments)
        else:
            value = await _in_thread(code, arguments, context, self._threads)
        return result_of(value, signature.output_type, context)

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
        value = await self._call(node, "exec", self._prepared[0], context)
        result = result_of(value, self._implementation.signature.exec_type, context)
        self._executing = False
        return await self._finish(node, result, context)

    async def give_up(self, context: NodeContext, error: BaseException) -> NodeResult:
        node = self._node
        if node is None or not self._executing or isinstance(error, FatalError):
            raise error
        context.context.writes.clear()
        context.context.writes.update(self._writes)
        value = await self._call(node, "fallback", error, context)
        result = result_of(value, self._implementation.signature.exec_type, context)
        return await self._finish(node, result, context)

    async def recover(self, context: NodeContext, error: BaseException) -> None:
        if self._node is None:
            return
        try:
            await self._call(self._node, "recover", error, context)
        except Exception as failure:
            _log.warning(
                "recover failed", node_key=context.node_key, run_id=context.run_id, error=str(failure)
            )

    async def _prepare(self, context: NodeContext) -> BaseNode:
        if self._node is not None and self._prepared is not None:
            return self._node
        try:
            if self._implementation.signature.input_type is not None:
                _validate_input(self._implementation.signature.input_type, context)
            node = cast("type[BaseNode]", self._implementation.code)(context.params, context.node_id)
            self._node = node
            self._prepared = (await self._call(node, "prep", context),)
        except Exception as error:
            raise PhaseFailedError(error) from error
        self._writes = dict(context.context.writes)
        return node

    async def _finish(self, node: BaseNode, result: NodeResult, context: NodeContext) -> NodeResult:
        try:
            value = await self._call(node, "post", as_given(result, context), context)
            return result_of(value, self._implementation.signature.output_type, context)
        except Exception as error:
            raise PhaseFailedError(error) from error

    async def _call(self, node: BaseNode, phase: str, *arguments: Any) -> Any:
        method: Callable[..., Any] = getattr(node, phase)
        if wants := self._implementation.signature.phase_wants.get(phase):
            context = arguments[-1]
            method = partial(method, **await dependencies_of(context.dependencies).filled(wants))
        if inspect.iscoroutinefunction(method):
            return await method(*arguments)
        return await _in_thread(method, arguments, arguments[-1], self._threads)


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


async def _named_arguments(signature: Signature, context: NodeContext) -> dict[str, Any]:
    """What a function with parameters of its own is called with."""
    found = await dependencies_of(context.dependencies).filled(signature.wants) if signature.wants else {}
    if signature.input_name is not None:
        found[signature.input_name] = context.input
    if signature.context_name is not None:
        found[signature.context_name] = context
    return found


def _validate_input(input_type: TypeAdapter[Any], context: NodeContext) -> None:
    try:
        context.input = input_type.validate_python(context.input)
    except ValidationError as error:
        raise InputError(f"the input of node {context.node_key} is wrong: {_told(error, 'input')}") from None


def _told(error: ValidationError, what: str) -> str:
    """The first places where a value is wrong, as in ``input.items[3].price: Field required``."""
    places = [f"{_place(what, line['loc'])}: {line['msg']}" for line in error.errors(include_url=False)[:3]]
    more = f" (and {error.error_count() - 3} more)" if error.error_count() > 3 else ""
    return f"{'; '.join(places)}{more}"


def _place(what: str, location: tuple[int | str, ...]) -> str:
    return what + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def result_of(value: Any, output_type: TypeAdapter[Any] | None, context: NodeContext) -> NodeResult:
    """What code gave back, as a result whose output is JSON."""
    context.context.require_awaited()
    if isinstance(value, NodeResult):
        output, action = value.output, value.action or None
        if action is not None and not isinstance(action, str):
            raise OutputError(f"a result's action is a string or None, not {action!r}")
        if action is not None and not is_unicode(action):
            raise OutputError("a result's action has half of a surrogate pair, which is not Unicode")
        made = read_dynamic_nodes(value.dynamic_nodes) if value.dynamic_nodes else ()
    else:
        output, action, made = value, None, ()
    if output_type is not None:
        output = _dumped(output, output_type, context)
    try:
        return NodeResult(context.context.serializer.encode(output), action, dynamic_nodes=made)
    except NotJsonError as error:
        raise OutputError(f"the node's output cannot be stored: {error}") from None


def as_given(result: NodeResult, context: NodeContext) -> NodeResult:
    """A result as the code gave it: its output as values instead of their JSON."""
    output = context.context.serializer.decode(result.output)
    return result if output is result.output else replace(result, output=output)


def _dumped(output: Any, output_type: TypeAdapter[Any], context: NodeContext) -> Any:
    """The output as the JSON of what the node promises; under the names that its readers validate."""
    try:
        return output_type.dump_python(output_type.validate_python(output), mode="json", by_alias=True)
    except ValidationError as error:
        raise OutputError(
            f"the output of node {context.node_key} is wrong: {_told(error, 'output')}"
        ) from None
    except PydanticSerializationError as error:
        raise OutputError(f"the output of node {context.node_key} cannot be stored: {error}") from None

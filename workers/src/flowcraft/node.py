"""What a node's code sees: its context, its result, and the class form of a node."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

from typing_extensions import TypeVar

from flowcraft.definitions import NodeDefinition
from flowcraft.json_values import detached
from flowcraft.loggers import bound
from flowcraft.run_context import MISSING, RunContext, check_key
from flowcraft.serializer import JSON, Serializer
from flowcraft.values import value_class

__all__ = [
    "MISSING",
    "BaseNode",
    "NodeCode",
    "NodeContext",
    "NodeFunction",
    "NodeResult",
    "ProgressReport",
    "RunContext",
    "check_key",
]

Input = TypeVar("Input", default=Any)


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

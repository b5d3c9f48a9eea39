"""Middleware: what an app wraps around the execution of its nodes' code, in every mode.

What the engine does itself (``wait``, ``sleep``, ``subflow``, both ends of a batch, a loop's controller) is
no execution: its result may come days later, on another worker. Events tell of it.

The first middleware is the outermost. It is entered once an execution: all the attempts and the fallback are
inside. (A retry delay that is too long to wait for ends the execution; the next one is entered anew.)
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from flowcraft.calls import as_given, result_of
from flowcraft.cancellation import being_cancelled, uncancel
from flowcraft.errors import FlowcraftError, NonRetryableError
from flowcraft.failures import ErrorDetail
from flowcraft.node import NodeContext, NodeResult
from flowcraft.outcomes import Cancelled, Completed, Failed, Outcome, RetryLater

if TYPE_CHECKING:
    from flowcraft.executor import Surroundings, Work

Next = Callable[[], Awaitable[NodeResult]]
"""Executes what is inside; raises what the node failed with, or ``RetryScheduledError``."""


class RetryScheduledError(FlowcraftError):
    """The node's attempt failed and it is tried again later, perhaps by another worker.

    Attributes:
        delay_s: Seconds until then.
        error: What the attempt failed with.
    """

    def __init__(self, delay_s: float, error: ErrorDetail) -> None:
        super().__init__(f"tried again in {delay_s:g} s: {error.message}")
        self.delay_s = delay_s
        self.error = error


class Middleware:
    """Overrides what it needs of three methods.

    All get the context of the execution: input, params, keys. What they write to ``ctx.context`` is seen by
    the node and appears with its record; after ``following()`` the node's own writes are there, too.
    """

    async def before_node(self, ctx: NodeContext) -> None:
        """Called before the node; what it raises fails the node."""

    async def after_node(
        self, ctx: NodeContext, result: NodeResult | None, error: BaseException | None
    ) -> None:
        """Called after the node, with its result or with what it failed with; what it raises fails it."""

    async def around_node(self, _ctx: NodeContext, following: Next) -> Any:
        """Called instead of the node; ``await following()`` executes it.

        What it gives is the node's result, a plain value its output. It may leave out ``following()``, call
        it again after a failure, change the result, or turn a failure into a result.
        """
        return await following()


async def execute_around(
    work: Work, around: Surroundings, first_attempt: int, execute: Callable[[Work], Awaitable[Outcome]]
) -> Outcome:
    """Execute a node inside all middleware of its surroundings, the first one outermost."""
    return await _Execution(work, around, first_attempt, execute).run()


class _Execution:
    """One execution of a node inside its middleware."""

    def __init__(
        self,
        work: Work,
        around: Surroundings,
        first_attempt: int,
        execute: Callable[[Work], Awaitable[Outcome]],
    ) -> None:
        self._around = around
        self._work = work
        self._execute = execute
        self._attempts = first_attempt - 1
        self._context = work.context(first_attempt)
        self._outcome: Outcome | None = None

    async def run(self) -> Outcome:
        context = self._context
        cancelled = context.cancelled
        following: Next = self._node
        for one in reversed(self._around.middleware):
            following = _Layer(one, context, following).run
        try:
            context.detach(self._around.serializer, self._around.logger)
            given = await following()
            result = result_of(given, None, context)
        except asyncio.CancelledError as error:
            if not cancelled.is_set():
                if being_cancelled():
                    raise
                return self._failed(error)  # one that the code, or middleware, let escape
            uncancel()
            return Cancelled(self._attempts)
        except RetryScheduledError as error:
            return self._retry(error)
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            return self._failed(error)
        if isinstance(self._outcome, Completed) and self._outcome.result.fallback_executed:
            result = dataclasses.replace(result, fallback_executed=True)
        return Completed(result, context.context.writes, max(self._attempts, 1))

    def _retry(self, error: RetryScheduledError) -> Outcome:
        if isinstance(self._outcome, RetryLater):
            return self._outcome
        return self._failed(error)  # not the one that this execution gave: a defect of the middleware

    def _failed(self, error: BaseException) -> Outcome:
        outcome = self._outcome
        if isinstance(outcome, Failed) and outcome.exception is error:
            return outcome
        if isinstance(error, SystemExit):
            error = NonRetryableError(f"middleware called sys.exit({error.code!r})")
        return Failed(ErrorDetail.of(error), max(self._attempts, 1), error)

    async def _node(self) -> NodeResult:
        """The innermost: the node itself, with what the middleware has written so far."""
        context, written = self._context, dict(self._context.context.writes)
        make = self._work.context

        def inside(attempt: int) -> NodeContext:
            own = make(attempt)
            own.context.writes.update(written)
            return own

        outcome = self._outcome = await self._execute(dataclasses.replace(self._work, context=inside))
        if isinstance(outcome, RetryLater):
            self._attempts = outcome.attempts
            raise RetryScheduledError(outcome.delay_s, outcome.error)
        self._attempts = outcome.attempts
        if isinstance(outcome, Failed):
            raise outcome.exception
        if isinstance(outcome, Cancelled):
            raise asyncio.CancelledError
        context.context.writes.clear()
        context.context.writes.update(outcome.writes)
        return as_given(outcome.result, context)


class _Layer:
    """One middleware and what is inside it."""

    __slots__ = ("_context", "_following", "_one")

    def __init__(self, one: Middleware, context: NodeContext, following: Next) -> None:
        self._one = one
        self._context = context
        self._following = following

    async def run(self) -> NodeResult:
        given = await self._one.around_node(self._context, self._inner)
        return given if isinstance(given, NodeResult) else NodeResult(given)

    async def _inner(self) -> NodeResult:
        one, context = self._one, self._context
        await one.before_node(context)
        try:
            result = await self._following()
        except Exception as error:
            await one.after_node(context, None, error)
            raise
        await one.after_node(context, result, None)
        return result

"""Runs one node: attempts, backoff, timeout, cancellation, fallback. What comes of it is a value.

Nothing here knows of records, queues or edges. A failed attempt leaves nothing behind, because each gets a
context of its own; only the writes of the attempt that completes are handed on.

Cancelling: set the context's ``cancelled`` event, then cancel the task that awaits ``execute_node``; it gives
``Cancelled`` back. A task that is cancelled without that event (a worker shutting down) raises
``CancelledError`` as usual.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from flowcraft.calls import NodeCall, PhaseFailedError, node_call
from flowcraft.cancellation import being_cancelled, slept, uncancel, within
from flowcraft.errors import FatalError, NonRetryableError
from flowcraft.failures import ErrorDetail
from flowcraft.implementation import NodeImplementation, RetryPolicy
from flowcraft.middleware import Middleware, execute_around
from flowcraft.node import NodeContext, NodeResult
from flowcraft.outcomes import Cancelled, Completed, Failed, Outcome, RetryLater
from flowcraft.ports.clock import Clock
from flowcraft.serializer import JSON, Serializer
from flowcraft.values import value_class

if TYPE_CHECKING:
    from flowcraft.telemetry import Telemetry

__all__ = [
    "MOMENT_S",
    "Cancelled",
    "Completed",
    "Failed",
    "Outcome",
    "Random",
    "RetryLater",
    "Surroundings",
    "Work",
    "backoff_s",
    "execute_node",
]

MOMENT_S: Final = 2.0
"""A retry delay up to this is slept through; a longer one is given back, so that the worker is free."""

_log = structlog.get_logger(__name__)


class Random(Protocol):
    """The part of ``random.Random`` that backoff uses."""

    def random(self) -> float:
        """A number from 0 up to but not including 1."""
        ...


@value_class
class Work:
    """A node's code with what it is called with.

    Attributes:
        implementation: The code.
        context: Makes the context of an attempt, given its number. Each attempt needs a new one.
        policy: How often and how long.
    """

    implementation: NodeImplementation
    context: Callable[[int], NodeContext]
    policy: RetryPolicy


@value_class
class Surroundings:
    """What execution takes from the process it runs in.

    Attributes:
        clock: Time.
        random: Jitter.
        threads: Where synchronous nodes run; None: the loop's own pool.
        moment_s: Retry delays up to this are slept through.
        serializer: Makes JSON of outputs and context writes, and values of inputs.
        logger: What ``ctx.logger`` is made of; None: structlog's.
        middleware: Wrapped around each execution, the first one outermost.
        telemetry: Tells starts, retries and fallbacks; None while nobody listens.
    """

    clock: Clock
    random: Random
    threads: Executor | None = None
    moment_s: float = MOMENT_S
    serializer: Serializer = JSON
    logger: Any = None
    middleware: tuple[Middleware, ...] = ()
    telemetry: Telemetry | None = None


def execute_node(
    work: Work, around: Surroundings, *, fallback: Work | None = None, first_attempt: int = 1
) -> Coroutine[Any, Any, Outcome]:
    """Run a node until it completes, fails for good, is cancelled, or has to wait longer than a moment.

    Args:
        work: The node's own code.
        around: Clock, randomness, threads.
        fallback: Runs once, as the last attempt, when the attempts of ``work`` are used up or pointless.
        first_attempt: One more than the attempts that earlier calls made on this node key.

    Raises:
        asyncio.CancelledError: the calling task was cancelled and the node was not.
    """
    if around.telemetry is not None:
        context = work.context(first_attempt)
        around.telemetry.node_started(context.node_key, context.input, first_attempt)
    if around.middleware:
        return execute_around(
            work, around, first_attempt, lambda inner: _execute(inner, around, fallback, first_attempt)
        )
    return _execute(work, around, fallback, first_attempt)


async def execute_again(
    work: Work, around: Surroundings, context: NodeContext, error: BaseException, fallback: Work | None
) -> Outcome:
    """Go on with a node whose first attempt the caller has made, in this context, and which raised this.

    Raises:
        asyncio.CancelledError: the calling task was cancelled and the node was not.
    """
    tried = _raised(error, context, context.cancelled, attempt=1)
    if isinstance(tried, Cancelled):
        return tried
    return await _go_on(node_call(work.implementation, around.threads), work, around, fallback, tried)


async def _execute(work: Work, around: Surroundings, fallback: Work | None, first_attempt: int) -> Outcome:
    call = node_call(work.implementation, around.threads)
    tried = await _try(call.attempt, work.context(first_attempt), work.policy, around, first_attempt)
    if not isinstance(tried, _Failure):
        return tried
    return await _go_on(call, work, around, fallback, tried)


async def _go_on(
    call: NodeCall, work: Work, around: Surroundings, fallback: Work | None, failed: _Failure
) -> Outcome:
    """What follows from a failed attempt: more of them, after a delay each, or the end of all attempts."""
    policy, moment_s = work.policy, around.moment_s
    while True:
        context, attempt = failed.context, failed.attempt
        if failed.final or attempt >= policy.max_attempts:
            return await _give_up(call, work, around, failed, fallback)
        delay_s = backoff_s(policy, attempt, around.random)
        detail = ErrorDetail.of(failed.error)
        if around.telemetry is not None:
            around.telemetry.node_retried(context, detail, delay_s)
        _log.warning(
            "node attempt failed",
            run_id=context.run_id,
            node_key=context.node_key,
            attempt=attempt,
            error=detail.message,
            retry_in_s=round(delay_s, 3),
        )
        if delay_s > moment_s:
            return RetryLater(delay_s, attempt, detail)
        if delay_s > 0 and not await slept(delay_s, context, around.clock):
            return Cancelled(attempt)
        tried = await _try(call.attempt, work.context(attempt + 1), policy, around, attempt + 1)
        if not isinstance(tried, _Failure):
            return tried
        failed = tried


def backoff_s(policy: RetryPolicy, attempt: int, random: Random) -> float:
    """Seconds from this failed attempt to the next: doubled each time, capped, then half to all of that."""
    if policy.retry_delay_s <= 0:
        return 0.0
    doubled = policy.retry_delay_s * 2.0 ** min(attempt - 1, 60)
    return min(doubled, policy.max_retry_delay_s) * (0.5 + 0.5 * random.random())


@value_class
class _Failure:
    """A failed attempt; ``final``: another one would be no use."""

    error: BaseException
    final: bool
    context: NodeContext
    attempt: int


async def _try(
    code: Callable[[NodeContext], Coroutine[Any, Any, NodeResult]],
    context: NodeContext,
    policy: RetryPolicy,
    around: Surroundings,
    attempt: int,
) -> Completed | Cancelled | _Failure:
    """One attempt, everything that user code may raise turned into a value."""
    cancelled = context.cancelled  # the caller's; a timeout gives the attempt another one
    if cancelled.is_set():
        return Cancelled(attempt - 1)
    try:
        context.detach(around.serializer, around.logger)
        if policy.timeout_s is None:
            result = await code(context)
        else:
            result = await within(code(context), policy.timeout_s, context, around.clock)
    except BaseException as error:  # panics of extension modules are no ``Exception``
        return _raised(error, context, cancelled, attempt)
    if cancelled.is_set():
        uncancel()
    return Completed(result, context.context.writes, attempt)


def _raised(
    error: BaseException, context: NodeContext, cancelled: asyncio.Event, attempt: int
) -> _Failure | Cancelled:
    """What an attempt came to that raised this; the program's own end is raised again."""
    if isinstance(error, GeneratorExit | KeyboardInterrupt):
        raise error
    if isinstance(error, asyncio.CancelledError) and being_cancelled() and not cancelled.is_set():
        raise error  # else the code let a cancellation of its own escape
    context.context.drop_unawaited()
    if cancelled.is_set():
        uncancel()
        return Cancelled(attempt)
    if isinstance(error, PhaseFailedError):
        return _Failure(error.cause, True, context, attempt)
    if isinstance(error, SystemExit):
        told = NonRetryableError(f"the node called sys.exit({error.code!r})")
        return _Failure(told, True, context, attempt)
    return _Failure(error, isinstance(error, NonRetryableError), context, attempt)


async def _give_up(
    call: NodeCall, work: Work, around: Surroundings, last: _Failure, fallback: Work | None
) -> Outcome:
    """The attempts are used up: the class's own fallback, its clean-up, then the blueprint's fallback."""
    error = last.error
    if work.implementation.kind == "class":

        async def replace(context: NodeContext) -> NodeResult:
            return await call.give_up(context, error)

        context = work.context(last.attempt)  # the attempt's own may have been told that its time is over
        tried = await _try(replace, context, work.policy, around, last.attempt)
        if not isinstance(tried, _Failure):
            return tried
        error = tried.error
        await call.recover(work.context(last.attempt), error)
    if fallback is None or isinstance(error, FatalError):
        return Failed(ErrorDetail.of(error), last.attempt, error)
    attempt = last.attempt + 1
    replacement = node_call(fallback.implementation, around.threads)
    context = fallback.context(attempt)
    if around.telemetry is not None:
        around.telemetry.node_fell_back(context.node_key, fallback.implementation.name, error)
    _log.warning(
        "fallback stands in",
        run_id=context.run_id,
        node_key=context.node_key,
        fallback=fallback.implementation.name,
        error=ErrorDetail.of(error).message,
    )
    outcome = await _try(replacement.attempt, context, fallback.policy, around, attempt)
    if isinstance(outcome, Completed):
        return dataclasses.replace(
            outcome, result=dataclasses.replace(outcome.result, fallback_executed=True)
        )
    if isinstance(outcome, Cancelled):
        return outcome
    await replacement.recover(context, outcome.error)
    return Failed(ErrorDetail.of(outcome.error, after=error), attempt, outcome.error)

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
from dataclasses import dataclass
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


async def _execute(work: Work, around: Surroundings, fallback: Work | None, first_attempt: int) -> Outcome:
    call = node_call(work.implementation, around.threads)
    policy = work.policy
    attempt = first_attempt
    while True:
        context = work.context(attempt)
        tried = await _try(call.attempt, context, policy, around, attempt)
        if not isinstance(tried, _Failure):
            return tried
        if tried.final or attempt >= policy.max_attempts:
            return await _give_up(call, work, around, _LastTry(context, tried.error, attempt), fallback)
        delay_s = backoff_s(policy, attempt, around.random)
        detail = ErrorDetail.of(tried.error)
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
        if delay_s > around.moment_s:
            return RetryLater(delay_s, attempt, detail)
        if delay_s > 0 and not await slept(delay_s, context, around.clock):
            return Cancelled(attempt)
        attempt += 1


def backoff_s(policy: RetryPolicy, attempt: int, random: Random) -> float:
    """Seconds from this failed attempt to the next: doubled each time, capped, then half to all of that."""
    if policy.retry_delay_s <= 0:
        return 0.0
    doubled = policy.retry_delay_s * 2.0 ** min(attempt - 1, 60)
    return min(doubled, policy.max_retry_delay_s) * (0.5 + 0.5 * random.random())


@value_class
class _Failure:
    error: BaseException
    final: bool


@dataclass(frozen=True, slots=True)
class _LastTry:
    context: NodeContext
    error: BaseException
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
    tried: Completed | _Failure
    try:
        context.detach(around.serializer, around.logger)
        if policy.timeout_s is None:
            result = await code(context)
        else:
            result = await within(code(context), policy.timeout_s, context, around.clock)
        tried = Completed(result, context.context.writes, attempt)
    except asyncio.CancelledError as error:
        if being_cancelled() and not cancelled.is_set():
            raise
        tried = _Failure(error, final=False)  # else the code let a cancellation of its own escape
    except (GeneratorExit, KeyboardInterrupt):
        raise  # the program's end, not the code's
    except BaseException as error:  # panics of extension modules are no ``Exception``
        tried = _failure(error)
    if isinstance(tried, _Failure):
        context.context.drop_unawaited()
    if cancelled.is_set():
        uncancel()
        return tried if isinstance(tried, Completed) else Cancelled(attempt)
    return tried


def _failure(error: BaseException) -> _Failure:
    if isinstance(error, PhaseFailedError):
        return _Failure(error.cause, final=True)
    if isinstance(error, SystemExit):
        return _Failure(NonRetryableError(f"the node called sys.exit({error.code!r})"), final=True)
    return _Failure(error, isinstance(error, NonRetryableError))


async def _give_up(
    call: NodeCall, work: Work, around: Surroundings, last: _LastTry, fallback: Work | None
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
    outcome = await _try(replacement.attempt, context, fallback.policy, around, attempt)
    if isinstance(outcome, Completed):
        return dataclasses.replace(
            outcome, result=dataclasses.replace(outcome.result, fallback_executed=True)
        )
    if isinstance(outcome, Cancelled):
        return outcome
    await replacement.recover(context, outcome.error)
    return Failed(ErrorDetail.of(outcome.error, after=error), attempt, outcome.error)

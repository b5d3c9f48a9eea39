"""Trying again: calls that a node's result depends on outlast a short absence of the backend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from flowcraft.distributed.services import Services
from flowcraft.ports.errors import BackendUnavailableError

T = TypeVar("T")
TRIES: Final = 8
"""With the pauses between them about 20 s; after that the message is given back."""


async def persist(services: Services, what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call, and make it again while nobody answers; the caller knows what a repetition means.

    Raises:
        BackendUnavailableError: it was not answered so many times.
    """
    try:
        return await call()
    except BackendUnavailableError as error:
        services.log.warning("not answered; trying again", call=what, error=str(error))

    def pause_s(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, BackendUnavailableError) else None
        backoff_s: float = min(0.1 * 2**state.attempt_number, 5.0)
        jitter: float = 0.5 + services.random.random() / 2
        return max(asked or 0.0, backoff_s * jitter)

    async for attempt in AsyncRetrying(
        sleep=services.clock.sleep,
        wait=pause_s,
        stop=stop_after_attempt(TRIES),
        retry=retry_if_exception_type(BackendUnavailableError),
        reraise=True,
    ):
        with attempt:
            return await call()
    raise AssertionError("unreachable: the last failure is raised")

"""Listening to a Redis channel, over every loss of the connection."""

from __future__ import annotations

import asyncio
import random as randomness
from types import TracebackType
from typing import Any, Final, Self

from redis.exceptions import RedisError

RECONNECT_MIN_S: Final = 0.1
RECONNECT_MAX_S: Final = 5.0
CHECK_S: Final = 5.0
"""A listener asks at least so often whether its connection lives."""


class Texts:
    """The texts published on one channel, as context and iterator; gaps are possible while Redis is away.

    Entering waits for Redis to confirm the subscription, so that what is published afterwards is heard.
    Leaving ends the iteration. A cancelled ``anext`` loses nothing: the next one goes on.
    """

    def __init__(self, redis: Any, channel: str, random: randomness.Random) -> None:
        self._pubsub = redis.pubsub()
        self._channel = channel
        self._random = random
        self._pause_s = RECONNECT_MIN_S
        self._closed = False

    async def __aenter__(self) -> Self:
        try:
            await self._pubsub.subscribe(self._channel)
            await self._pubsub.get_message(timeout=CHECK_S)
        except (RedisError, OSError):
            pass  # the store is away: iteration subscribes when it is back
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        try:
            await self._pubsub.aclose()
        except (RedisError, OSError):
            return  # the connection is gone already

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._closed:
            try:
                if not self._pubsub.subscribed:
                    await self._pubsub.subscribe(self._channel)
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=CHECK_S)
            except (RedisError, OSError):
                _require_wanted()
                await self._pause()
                continue
            _require_wanted()
            self._pause_s = RECONNECT_MIN_S
            if message is not None:
                text = message["data"]
                return text.decode() if isinstance(text, bytes) else str(text)
        raise StopAsyncIteration

    async def _pause(self) -> None:
        if not self._closed:
            await asyncio.sleep(self._pause_s * self._random.uniform(0.5, 1.0))
            self._pause_s = min(self._pause_s * 2, RECONNECT_MAX_S)


def _require_wanted() -> None:
    """End the task if it was cancelled: Python 3.11's ``wait_for``, inside the client, may swallow that."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError

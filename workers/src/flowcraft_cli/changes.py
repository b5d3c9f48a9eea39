"""Waking up when a run of the queue changes, so that nobody polls fast."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from flowcraft.ports.coordination import hint_channel
from flowcraft.ports.errors import PortError
from flowcraft_cli.backend import Backend


class Changes:
    """An async context manager that hears the hints of a queue; a lost hint only costs the timeout."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._heard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, timeout_s: float) -> None:
        """Return when something changed since the last call, at the latest after the timeout."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), timeout_s)
        self._heard.clear()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        backend = self._backend
        with suppress(PortError):  # without hints the timeout is what wakes
            async with backend.coordination.listen(hint_channel(backend.queue_name)) as hints:
                async for _ in hints:
                    self._heard.set()

"""The health port of a worker: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from flowcraft_cli.metrics import WorkerMetrics
from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.distributed.jobs.worker import Worker
    from flowcraft_cli.settings import Settings

STUCK_AFTER_S: Final = 300.0
"""A worker with free places that has not asked the queue for so long hangs; a restart is the cure."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """What probes are told of a worker."""

    def __init__(self, worker: Worker, concurrency: int) -> None:
        self._worker = worker
        self._concurrency = concurrency
        self._started_at = time.monotonic()
        self.draining = False

    def not_live(self) -> str:
        """Why the process should be restarted; empty if it should not.

        A backend that is away is no reason: a restart would not bring it back.
        """
        worker = self._worker
        busy = len(worker.jobs) >= self._concurrency
        if busy or worker.problem or self.draining:
            return ""
        silent_s = time.monotonic() - (worker.last_receive or self._started_at)
        return f"the queue was not asked for {silent_s:.0f} s" if silent_s > STUCK_AFTER_S else ""

    def not_ready(self) -> str:
        """Why the worker does not take jobs now; empty if it does."""
        if self.draining:
            return "draining"
        if self._worker.problem:
            return self._worker.problem
        return "" if self._worker.last_receive is not None else "the queue has not answered yet"


@asynccontextmanager
async def health_port(health: Health, metrics: WorkerMetrics, settings: Settings) -> AsyncIterator[int]:
    """Answer probes while the context is open; gives the port.

    Raises:
        UsageError: the port is taken.
    """

    async def live(_: web.Request) -> web.Response:
        return _answer(health.not_live())

    async def ready(_: web.Request) -> web.Response:
        return _answer(health.not_ready())

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    program = web.Application()
    program.add_routes([web.get("/livez", live), web.get("/readyz", ready), web.get("/metrics", measured)])
    runner = web.AppRunner(program, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.health_host, settings.health_port)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(
                f"port {settings.health_port} cannot be opened ({error.strerror}); "
                "give another FLOWCRAFT_HEALTH_PORT"
            ) from None
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _answer(problem: str) -> web.Response:
    return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

"""The port that kubelet and Prometheus ask: `/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from flowcraft_operator.handlers.metrics import Metrics

Check = Callable[[], str]
"""Says what is wrong, or nothing."""


class HealthServer:
    """Answers probes from the loop that does the work: a loop that is stuck answers nothing."""

    def __init__(self, port: int, *, alive: Check, ready: Check, metrics: Metrics) -> None:
        self._port = port
        self._checks = {"/livez": alive, "/readyz": ready}
        self._metrics = metrics
        self._runner: web.AppRunner | None = None
        self.port = 0
        """The port that it listens on, once it does."""

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        for path in self._checks:
            app.router.add_get(path, self._probe)
        app.router.add_get("/metrics", self._exposition)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "0.0.0.0", self._port)  # noqa: S104 - probes come from outside the pod
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _probe(self, request: web.Request) -> web.Response:
        problem = self._checks[request.path]()
        return web.Response(status=503 if problem else 200, text=problem or "ok")

    async def _exposition(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

"""`flowcraft worker`: the program that pods run."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK

if TYPE_CHECKING:
    from flowcraft.app import App
    from flowcraft.distributed.jobs.worker import Worker
    from flowcraft.distributed.reconciliation import Reconciler
    from flowcraft_cli.backend import Backend
    from flowcraft_cli.health import Health

EXAMPLES = (
    "flowcraft worker --app shop.flows:app",
    "flowcraft worker --app shop.flows:app --backend azure --queue shop-orders",
    "FLOWCRAFT_HEALTH_PORT=8080 flowcraft worker --app shop.flows:app",
)


def worker(
    app: options.App = None,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, help="Jobs at a time (FLOWCRAFT_CONCURRENCY), by default 16."),
    ] = None,
) -> int:
    """Work on the runs of a queue until SIGTERM or Ctrl-C.

    Then it takes nothing new, lets running nodes end (FLOWCRAFT_DRAIN_S, by default 25 seconds), gives back
    what has not ended, and exits with 0. With FLOWCRAFT_HEALTH_PORT it answers /livez, /readyz and /metrics
    there.
    """
    settings = Settings.read(backend=backend, app=app, db=db, queue=queue, concurrency=concurrency)
    return asyncio.run(_work(settings))


async def _work(settings: Settings) -> int:
    import structlog

    from flowcraft.distributed.jobs.worker import Worker
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.garbage import collect_rarely
    from flowcraft_cli.health import Health, health_port
    from flowcraft_cli.logs import configure_logs
    from flowcraft_cli.metrics import WorkerMetrics
    from flowcraft_cli.workers import load, services_of

    configure_logs(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = load(settings)
    log = structlog.get_logger().bind(app=app.name, queue=settings.queue)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(settings, create=True))
        working = Worker(services_of(backend, app, settings))
        health = Health(working, settings.concurrency)
        if settings.health_port is not None:
            metrics = WorkerMetrics(working, settings.queue, settings.concurrency)
            port = await stack.enter_async_context(health_port(health, metrics, settings))
            log.info("health port open", port=port)
        collect_rarely()
        log.info("worker started", backend=settings.chosen_backend, concurrency=settings.concurrency)
        await _until_stopped(working, health, stop, _reconciling(settings, backend, app, log))
        log.info("worker stopped", jobs_ended=working.handled)
    return OK


async def _until_stopped(
    working: Worker, health: Health, stop: asyncio.Event, reconciling: asyncio.Task[None] | None
) -> None:
    """Work until told to stop, then drain; what ends the worker otherwise is raised."""
    asked = asyncio.create_task(stop.wait())
    await working.start()
    ended = asyncio.create_task(working.wait())
    try:
        await asyncio.wait([asked, ended], return_when=asyncio.FIRST_COMPLETED)
        health.draining = True
        if ended.done():
            await ended
    finally:
        if reconciling is not None:
            reconciling.cancel()
        asked.cancel()
        await working.stop()
        await asyncio.gather(asked, ended, return_exceptions=True)


def _reconciling(settings: Settings, backend: Backend, app: App, log: Any) -> asyncio.Task[None] | None:
    """The worker's own reconciliation, where nobody else does it."""
    from flowcraft_cli.workers import reconciler_of

    interval_s = settings.reconcile_interval_s
    if interval_s is None:
        interval_s = 60.0 if settings.chosen_backend == "embedded" else 0.0
    if not interval_s:
        return None
    return asyncio.create_task(_reconcile(reconciler_of(backend, settings, app), interval_s, backend, log))


async def _reconcile(reconciler: Reconciler, interval_s: float, backend: Backend, log: Any) -> None:
    from flowcraft.ports.errors import PortError

    while True:
        await backend.clock.sleep(interval_s * (0.75 + backend.random.random() / 2))
        try:
            stats = await reconciler.run()
        except PortError as error:
            log.warning("reconciliation failed", error=str(error))
            continue
        if stats.reconciled_runs or stats.failed_runs or stats.purged_runs:
            log.info(
                "reconciled",
                stalled=stats.stalled_runs,
                reconciled=stats.reconciled_runs,
                failed=stats.failed_runs,
                purged=stats.purged_runs,
            )

"""The operator as a whole: its parts put together, its background work, and whether it is well."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterator
from typing import Final

import kopf

from flowcraft.clock import SystemClock
from flowcraft.ports import Clock
from flowcraft_operator.handlers.health import HealthServer
from flowcraft_operator.handlers.metrics import Metrics
from flowcraft_operator.handlers.pools import PoolKeeper
from flowcraft_operator.handlers.run_record import POOL_FINALIZER, Key
from flowcraft_operator.handlers.runs import Runs
from flowcraft_operator.handlers.work_queue import WorkQueue
from flowcraft_operator.kube.client import KubeClient, Login, login
from flowcraft_operator.kube.events import EventRecorder
from flowcraft_operator.settings import OperatorSettings
from flowcraft_operator.wiring import AzureBackends, Backends

STUCK_AFTER_S: Final = 300.0
"""A handling that takes so long will not end: every request in it has a shorter limit."""
BACKOFFS_S: Final = (1, 1, 2, 3, 5, 8, 13, 21)
LONGEST_BACKOFF_S: Final = 30

_log = logging.getLogger(__name__)


class Operator:
    """Everything that lives as long as the process."""

    def __init__(
        self,
        settings: OperatorSettings,
        *,
        clock: Clock | None = None,
        log_in: Login = login,
        backends: Backends | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.metrics = Metrics()
        self.kube = KubeClient(log_in)
        services = backends or AzureBackends()
        events = EventRecorder(self.kube, self.clock.now)
        self.pools = PoolKeeper(self.kube, events, self.clock, settings, services, failed=self.metrics.failed)
        self.runs = Runs(
            self.kube,
            events,
            self.pools,
            self.clock,
            settings,
            failed=self.metrics.failed,
        )
        self.pools.runs = self.runs
        self.metrics.watch(self.pools, self.runs, self.kube, services)
        self.health = HealthServer(
            settings.health_port, alive=self._stuck, ready=self._not_ready, metrics=self.metrics
        )
        self._work: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to work on what is observed from now on."""
        await self.health.start()
        loop = asyncio.get_running_loop()
        self._work = [loop.create_task(queue.run(), name=queue.name) for queue in self._queues]
        _log.info("operator started; probes and metrics on port %d", self.health.port)

    async def stop(self) -> None:
        """End all work and all connections; what was not finished is found again at the next start."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self._work = []
        await self.pools.close()
        await self.kube.close()
        await self.health.stop()

    @property
    def _queues(self) -> tuple[WorkQueue[Key], ...]:
        return (self.pools.queue, self.pools.reconciliations, self.runs.queue)

    def _stuck(self) -> str:
        """What hangs, for the liveness probe."""
        for queue, oldest_s in (
            (self.pools.queue.name, self.pools.queue.oldest_running_s),
            (self.runs.queue.name, self.runs.queue.oldest_running_s),
        ):
            if oldest_s > STUCK_AFTER_S:
                return f"a handling in {queue} has been going on for {oldest_s:.0f} s"
        for task in self._work:
            if task.done():
                return f"{task.get_name()} ended"
        return self._stuck_mirror()

    def _stuck_mirror(self) -> str:
        now = self.clock.monotonic()
        for state in self.pools.states():
            if state.mirroring is not None and state.mirroring.done():
                return f"the mirror of pool {state.key.name} ended"
            if state.mirror.alive_at and now - state.mirror.alive_at > STUCK_AFTER_S:
                return f"the mirror of pool {state.key.name} hangs"
        return ""

    def _not_ready(self) -> str:
        return "" if self._work else "starting"


class Backoffs:
    """Pauses between tries of Kopf's requests, without an end.

    Kopf takes the last one for the end of the operator. But a namespace that was deleted with the operator's
    role in it is no reason to leave all others alone, nor is an API server that is away for a while.
    """

    def __iter__(self) -> Iterator[float]:
        """Begin with the shortest."""
        return itertools.chain(BACKOFFS_S, itertools.repeat(LONGEST_BACKOFF_S))


def configure(settings: kopf.OperatorSettings, *, clusterwide: bool) -> None:
    """Kopf's own settings: bounded lists, a watch that notices silence, no Events, names of this project."""
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 600
    settings.posting.enabled = False
    settings.scanning.disabled = not clusterwide  # a namespaced role cannot watch definitions
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = Backoffs()
    settings.background.cancellation_polling = 2  # how soon a pool may go whose timers end
    settings.persistence.finalizer = POOL_FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="operator.flowcraft.io")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="operator.flowcraft.io")
    settings.process.ultimate_exiting_timeout = 60

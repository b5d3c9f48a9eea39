"""What a worker measures of itself, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from flowcraft.distributed.jobs.worker import Worker


class WorkerMetrics:
    """The worker's own figures, read when somebody asks; nothing is counted twice."""

    def __init__(self, worker: Worker, queue_name: str, concurrency: int) -> None:
        self._worker = worker
        self._queue_name = queue_name
        self._concurrency = concurrency
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The figures as they are now."""
        worker = self._worker
        yield self._gauge("jobs_in_flight", "Jobs that the worker holds.", len(worker.jobs))
        yield self._gauge("concurrency", "Jobs that the worker may hold.", self._concurrency)
        yield self._gauge(
            "backend_reachable", "1 while the queue can be read, else 0.", 0 if worker.problem else 1
        )
        jobs = CounterMetricFamily(
            "flowcraft_worker_jobs", "Jobs that the worker has ended.", labels=["queue"]
        )
        jobs.add_metric([self._queue_name], worker.handled)
        yield jobs
        if worker.last_receive is not None:
            age_s = time.monotonic() - worker.last_receive
            yield self._gauge("last_receive_age_seconds", "Seconds since the queue last answered.", age_s)

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"flowcraft_worker_{name}", text, labels=["queue"])
        family.add_metric([self._queue_name], value)
        return family

"""What the operator measures of itself and of its pools, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flowcraft_operator.handlers.pool_state import PoolState
from flowcraft_operator.handlers.pools import PoolKeeper
from flowcraft_operator.handlers.runs import Runs
from flowcraft_operator.handlers.work_queue import WorkQueue
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.planning.scaling import Measured
from flowcraft_operator.wiring import Backends


class Metrics:
    """Everything under `/metrics`: a counter that is counted, and gauges that are read when asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._errors = PrometheusCounter(
            "flowcraft_operator_reconcile_errors",
            "Handlings of a resource that failed and are repeated.",
            ["queue"],
            registry=self.registry,
        )

    def failed(self, queue: str, _error: Exception) -> None:
        """Count a handling that failed."""
        self._errors.labels(queue).inc()

    def watch(self, pools: PoolKeeper, runs: Runs, kube: KubeClient, services: Backends) -> None:
        """Read the gauges from these from now on."""
        self.registry.register(_Gauges(pools, runs, kube, services))

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, pools: PoolKeeper, runs: Runs, kube: KubeClient, services: Backends) -> None:
        self._pools = pools
        self._runs = runs
        self._kube = kube
        self._services = services

    def collect(self) -> Iterable[Metric]:
        yield _gauge(
            "flowcraft_operator_workqueue_depth",
            "Resources that wait to be handled.",
            ["queue"],
            [([queue.name], queue.depth) for queue in self._queues()],
        )
        yield _gauge(
            "flowcraft_operator_api_writes",
            "Requests to the API server that may have changed something.",
            [],
            [([], self._kube.writes)],
        )
        yield _gauge(
            "flowcraft_operator_backend_requests",
            "Requests to the services of all pools.",
            ["service"],
            [([service], count) for service, count in self._services.requests().items()],
        )
        yield _gauge(
            "flowcraft_operator_headers_seen",
            "WorkflowRuns that have not ended and whose header is known.",
            [],
            [([], self._runs.headers_seen())],
        )
        phases = Counter(self._runs.phases())
        yield _gauge(
            "flowcraft_runs",
            "WorkflowRuns that have not ended, by phase.",
            ["namespace", "pool", "phase"],
            [([pool.namespace, pool.name, phase], count) for (pool, phase), count in phases.items()],
        )
        yield from _pool_gauges(list(self._pools.states()))

    def _queues(self) -> Iterator[WorkQueue[object]]:
        yield from (self._pools.queue, self._runs.queue)  # type: ignore[misc]


def _pool_gauges(states: list[PoolState]) -> Iterator[Metric]:
    figures: list[tuple[str, str, list[tuple[list[str], float | None]]]] = [
        (
            "queue_visible_messages",
            "Messages that can be received now (at least).",
            _measured(states, "visible"),
        ),
        ("queue_messages_in_flight", "Messages that workers hold.", _measured(states, "in_flight")),
        ("queue_messages_delayed", "Messages that wait for their time.", _measured(states, "delayed")),
        ("desired_replicas", "Workers there should be.", _deployment(states, "wanted")),
        ("ready_replicas", "Workers that are ready.", _deployment(states, "ready")),
        (
            "backend_reachable",
            "Whether queue and facts answer.",
            [(list(state.key), _number(state.connection.health.reachable)) for state in states],
        ),
        (
            "stalled_runs",
            "Stalled runs that the last reconciliation found.",
            [
                (list(s.key), _number(s.last_reconciliation and s.last_reconciliation.stalled_runs))
                for s in states
            ],
        ),
        (
            "repaired_runs",
            "Runs that the last reconciliation repaired.",
            [
                (list(s.key), _number(s.last_reconciliation and s.last_reconciliation.reconciled_runs))
                for s in states
            ],
        ),
    ]
    for name, text, values in figures:
        known = [(labels, value) for labels, value in values if value is not None]
        yield _gauge(f"flowcraft_pool_{name}", text, ["namespace", "pool"], known)


def _measured(states: list[PoolState], field: str) -> list[tuple[list[str], float | None]]:
    return [
        (list(state.key), _number(getattr(state.measurement, field)))
        for state in states
        if isinstance(state.measurement, Measured)
    ]


def _deployment(states: list[PoolState], field: str) -> list[tuple[list[str], float | None]]:
    return [(list(s.key), _number(getattr(s.deployment, field))) for s in states if s.deployment is not None]


def _number(value: object) -> float | None:
    """A figure; what is not known is left out, never zero."""
    return float(value) if isinstance(value, bool | int | float) else None


def _gauge(name: str, text: str, labels: list[str], values: Iterable[tuple[list[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family

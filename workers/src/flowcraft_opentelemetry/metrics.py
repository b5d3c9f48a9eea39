"""Figures of runs, nodes and messages, made from their events."""

from __future__ import annotations

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from flowcraft.events import (
    Event,
    JobProcessed,
    NodeEvent,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodeSkipped,
    WorkflowFinished,
)
from flowcraft_opentelemetry.tracing import NAME


class RunMetrics:
    """A subscriber of an event bus. Labels are bounded: blueprint and node ids, statuses, queue names."""

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        """Args: who makes meters; the process's own by default."""
        meter = metrics.get_meter(NAME, meter_provider=meter_provider)
        self._runs = meter.create_counter("flowcraft.runs", "{run}", "Runs that have ended.")
        self._nodes = meter.create_counter("flowcraft.nodes", "{node}", "Node keys that were resolved.")
        self._retries = meter.create_counter("flowcraft.node.retries", "{attempt}", "Attempts made again.")
        self._node_duration = meter.create_histogram(
            "flowcraft.node.duration", "s", "From a node's start to its record, waiting included."
        )
        self._jobs = meter.create_counter("flowcraft.jobs", "{job}", "Deliveries that have ended.")
        self._job_duration = meter.create_histogram("flowcraft.job.duration", "s", "How long one was held.")
        self._queue_age = meter.create_histogram(
            "flowcraft.queue.age", "s", "How long a message could have been received before it was."
        )

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, NodeEvent):
            self._count_node(event)
        elif isinstance(event, WorkflowFinished):
            self._runs.add(1, {"blueprint": event.blueprint_id, "status": event.status})
        elif isinstance(event, JobProcessed):
            queue = {"queue": event.queue_name}
            self._jobs.add(1, {**queue, "success": event.success})
            self._job_duration.record(event.duration_s, queue)
            self._queue_age.record(event.queue_age_s, queue)

    def _count_node(self, event: NodeEvent) -> None:
        node = {"blueprint": event.blueprint_id, "node": event.node_id}
        if isinstance(event, NodeFinished | NodeFailed):
            status = "completed" if isinstance(event, NodeFinished) else "failed"
            self._nodes.add(1, {**node, "status": status})
            self._node_duration.record(event.duration_s, {**node, "status": status})
        elif isinstance(event, NodeSkipped):
            self._nodes.add(1, {**node, "status": "skipped"})
        elif isinstance(event, NodeRetried):
            self._retries.add(1, node)

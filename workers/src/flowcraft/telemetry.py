"""Telling one run's events: the only place that makes event values, used by every mode of execution.

There is no ``Telemetry`` for a run that nobody listens to, so that telling costs one comparison then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowcraft import events
from flowcraft.engine.children import Children, owner_of
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.event_bus import EventBus
from flowcraft.failures import ErrorDetail
from flowcraft.node import MISSING, NodeContext
from flowcraft.ports.clock import Clock
from flowcraft.records import NodeRecord
from flowcraft.times import iso, parse_time

_AT_ONCE: Final = frozenset({"batch-gather", "loop-controller"})
"""Kinds that the engine acts on and that never wait: they begin when they end."""


class Telemetry:
    """Tells what happens in one run."""

    __slots__ = ("_bus", "_clock", "_run_id", "blueprint_id")

    def __init__(self, bus: EventBus, clock: Clock, run_id: str, blueprint_id: str) -> None:
        self._bus = bus
        self._clock = clock
        self._run_id = run_id
        self.blueprint_id = blueprint_id

    @classmethod
    def of(cls, bus: EventBus, clock: Clock, run_id: str, blueprint_id: str) -> Telemetry | None:
        """What tells a run's events; None while nobody listens."""
        return cls(bus, clock, run_id, blueprint_id) if bus.listening else None

    # ---- the run ----

    def started(self, run_input: Any) -> None:
        """The run begins."""
        self._emit(events.WorkflowStarted, input=run_input)

    def resumed(self) -> None:
        """The run goes on."""
        self._emit(events.WorkflowResumed)

    def paused(self) -> None:
        """Nothing moves until somebody acts."""
        self._emit(events.WorkflowPaused)

    def stalled(self, remaining: int) -> None:
        """Nobody touched the run for long."""
        self._emit(events.WorkflowStalled, remaining_nodes=remaining)

    def finished(self, status: str, output: Any, errors: Sequence[Mapping[str, Any]]) -> None:
        """The run is over."""
        self._emit(events.WorkflowFinished, status=status, output=output, errors=tuple(errors))

    # ---- its nodes ----

    def node_started(
        self, key: str, value: Any = None, attempt: int = 1, wakes_at: str | None = None
    ) -> None:
        """A node begins."""
        self._emit(events.NodeStarted, **_node(key), input=value, attempt=attempt, wakes_at=wakes_at)

    def node_retried(self, context: NodeContext, error: ErrorDetail, delay_s: float) -> None:
        """An attempt failed that is not the last."""
        self._emit(
            events.NodeRetried,
            **_node(context.node_key),
            attempt=context.attempt,
            delay_s=round(delay_s, 3),
            error=error.to_dict(),
        )

    def node_fell_back(self, key: str, fallback: str, error: BaseException) -> None:
        """A node's fallback begins."""
        self._emit(
            events.NodeFellBack, **_node(key), fallback=fallback, error=ErrorDetail.of(error).to_dict()
        )

    def recorded(self, plan: Plan, record: NodeRecord, writes: Mapping[str, Any]) -> None:
        """A node key's record was written, with these context writes (``MISSING`` marks a deleted key)."""
        for name, value in writes.items():
            self.context_changed(record.key, name, value)
        facts: dict[str, Any] = {
            **_node(record.key),
            "attempt": record.attempt,
            "seq": record.seq,
            "duration_s": _duration_s(record),
        }
        if record.status == "failed":
            self._emit(events.NodeFailed, **facts, error=record.error or {})
        elif record.status == "completed":
            child = owner_of(record.key) is not None
            if not child:
                self._batch(plan, record)
            self._emit(
                events.NodeFinished,
                **facts,
                output=record.output,
                action=record.action,
                taken=record.taken,
                values={str(position): value for position, value in record.values.items()},
                children=record.children,
            )
            if not child:
                self._edges(plan, record)
        elif record.kind == "children":
            self._scattered(record)
        elif record.kind != "retry":
            self.node_started(record.key, wakes_at=record.wake_at)

    def skipped(self, keys: Sequence[str]) -> None:
        """These node keys will not run."""
        for key in keys:
            self._emit(events.NodeSkipped, **_node(key))

    def context_changed(self, source: str, name: str, value: Any) -> None:
        """A context key was written, or deleted where the value is ``MISSING``."""
        deleted = value is MISSING
        self._emit(
            events.ContextChanged,
            source_node=source,
            key=name,
            op="delete" if deleted else "set",
            value=None if deleted else value,
        )

    # ---- its messages ----

    def enqueued(self, queue_name: str, keys: Sequence[str]) -> None:
        """Messages for these node keys were sent."""
        for key in keys:
            self._emit(events.JobEnqueued, node_id=key, queue_name=queue_name)

    def processed(
        self, queue_name: str, key: str, *, duration_s: float, success: bool, queue_age_s: float
    ) -> None:
        """A delivery has ended."""
        self._emit(
            events.JobProcessed,
            node_id=key,
            queue_name=queue_name,
            duration_s=duration_s,
            success=success,
            queue_age_s=queue_age_s,
        )

    def job_failed(self, queue_name: str, key: str, kind: str, message: str) -> None:
        """A delivery could not be acted on."""
        self._emit(
            events.JobFailed, node_id=key, queue_name=queue_name, error={"type": kind, "message": message}
        )

    def _edges(self, plan: Plan, record: NodeRecord) -> None:
        for position in plan.nodes[record.node].outgoing:
            edge = plan.edges[position]
            self._emit(
                events.EdgeEvaluated,
                source=edge.source,
                target=edge.target,
                position=position,
                source_key=record.key,
                condition=edge.condition,
                result=record.took(position),
            )

    def _scattered(self, record: NodeRecord) -> None:
        children = Children.of(record)
        if children is not None and children.names is None:
            self.node_started(record.key)
            self._batch_started(record, tuple(children.keys()))

    def _batch_started(self, record: NodeRecord, keys: tuple[str, ...]) -> None:
        self._emit(
            events.BatchStarted, batch_id=record.key, scatter_node_id=record.node, worker_node_ids=keys
        )

    def _batch(self, plan: Plan, record: NodeRecord) -> None:
        uses = plan.nodes[record.node].definition.uses
        if uses in _AT_ONCE:
            self.node_started(record.key)
        if uses == "batch-scatter" and record.children is None:
            self._batch_started(record, ())
        if uses == "batch-gather":
            self._emit(
                events.BatchFinished, batch_id=record.key, gather_node_id=record.node, results=record.output
            )

    def _emit(self, kind: type[events.Event], **facts: Any) -> None:
        self._bus.emit(
            kind(
                execution_id=self._run_id,
                blueprint_id=self.blueprint_id,
                at=iso(self._clock.now()),
                **facts,
            )
        )


def _node(key: str) -> dict[str, str]:
    return {"node_id": NodeKey.parse(key).node, "node_key": key}


def _duration_s(record: NodeRecord) -> float:
    began, ended = parse_time(record.started_at), parse_time(record.finished_at)
    return max((ended - began).total_seconds(), 0.0) if began and ended else 0.0

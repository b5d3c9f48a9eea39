"""A run rebuilt from its events, without executing anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from flowcraft import events as told
from flowcraft.blueprint import Blueprint
from flowcraft.engine.plan import Plan
from flowcraft.errors import AppError
from flowcraft.events import Event
from flowcraft.memory.result import RunResult, RunStatus
from flowcraft.node import MISSING
from flowcraft.records import NodeRecord


def replay(blueprint: Blueprint, events: Iterable[Event], run_id: str = "") -> RunResult:
    """What the run had come to at the last of its events.

    Events that were told twice are taken once: the first result of a node key counts, as it does in a run.

    Raises:
        AppError: there is no event of the run, or one names what the blueprint does not have.
    """
    rebuilt: _Rebuilt | None = None
    for event in events:
        if rebuilt is None and (not run_id or event.execution_id == run_id):
            rebuilt = _Rebuilt(blueprint, event.execution_id)
        if rebuilt is not None and event.execution_id == rebuilt.run_id:
            rebuilt.apply(event)
    if rebuilt is None:
        raise AppError(f"there is no event of run {run_id!r}" if run_id else "there are no events to replay")
    return rebuilt.result()


class _Rebuilt:
    def __init__(self, blueprint: Blueprint, run_id: str) -> None:
        self.run_id = run_id
        self._blueprint = blueprint
        self._plan = Plan.of(blueprint)
        self._input: Any = {}
        self._records: dict[str, NodeRecord] = {}
        self._started: dict[str, str] = {}
        self._writes: dict[str, dict[str, Any]] = {}
        self._context: dict[str, Any] = {}
        self._end: told.WorkflowFinished | None = None
        self._paused = False

    def apply(self, event: Event) -> None:
        match event:
            case told.WorkflowStarted():
                self._input = event.input
            case told.WorkflowResumed():
                self._paused = False
            case told.WorkflowPaused():
                self._paused = True
            case told.WorkflowFinished():
                self._end = event
            case told.NodeStarted():
                self._began(event)
            case told.NodeFinished() | told.NodeFailed():
                self._recorded(event)
            case told.NodeSkipped():
                self._records.setdefault(
                    event.node_key,
                    NodeRecord(event.node_key, event.node_id, "skipped", finished_at=event.at),
                )
            case told.EdgeEvaluated():
                self._evaluated(event)
            case told.ContextChanged():
                self._changed(event)
            case _:
                pass

    def _began(self, event: told.NodeStarted) -> None:
        node = self._plan.nodes.get(event.node_id)
        if node is None:
            raise AppError(
                f"the events are of another blueprint: {self._blueprint.id} has no {event.node_id!r}"
            )
        self._started.setdefault(event.node_key, event.at)
        if node.definition.uses in ("wait", "webhook"):
            self._records.setdefault(
                event.node_key,
                NodeRecord(event.node_key, event.node_id, "awaiting", started_at=event.at, kind="wait"),
            )

    def _recorded(self, event: told.NodeFinished | told.NodeFailed) -> None:
        key = event.node_key
        if key in self._records and self._records[key].resolved:
            return
        facts: dict[str, Any] = {
            "attempt": event.attempt,
            "seq": event.seq,
            "started_at": self._started.get(key, event.at),
            "finished_at": event.at,
        }
        if isinstance(event, told.NodeFailed):
            self._records[key] = NodeRecord(key, event.node_id, "failed", error=event.error, **facts)
        else:
            self._records[key] = NodeRecord(
                key, event.node_id, "completed", event.output, event.action, **facts
            )

    def _evaluated(self, event: told.EdgeEvaluated) -> None:
        record = self._records.get(event.source_key)
        if record is None or not event.result or record.took(event.position):
            return
        if event.position >= len(self._plan.edges):
            raise AppError(f"the events are of another blueprint: {self._blueprint.id} has fewer edges")
        values = dict(record.values)
        if self._plan.edges[event.position].transform:
            values[event.position] = event.value
        taken = tuple(sorted((*record.taken, event.position)))
        self._records[event.source_key] = replace(record, taken=taken, values=values)

    def _changed(self, event: told.ContextChanged) -> None:
        value = MISSING if event.op == "delete" else event.value
        self._writes.setdefault(event.source_node, {})[event.key] = value
        if value is MISSING:
            self._context.pop(event.key, None)
        else:
            self._context[event.key] = value

    def result(self) -> RunResult:
        end = self._end
        errors: tuple[Any, ...] = ()
        output = None
        status: RunStatus = "paused"
        if end is not None:
            status = cast("RunStatus", end.status)
            errors, output = end.errors, end.output
        elif self._paused and any(not record.resolved for record in self._records.values()):
            status = "awaiting"
        return RunResult(
            self.run_id,
            self._blueprint,
            self._input,
            status,
            output,
            errors,
            self._records,
            self._context,
            self._writes,
        )

"""A run rebuilt from its events, without executing anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, cast

from flowcraft import events as told
from flowcraft.blueprint import Blueprint
from flowcraft.engine.children import owner_of
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.errors import AppError
from flowcraft.events import Event
from flowcraft.memory.result import RunResult, RunStatus
from flowcraft.memory.revision import PATCH, layered
from flowcraft.node import MISSING
from flowcraft.records import AwaitKind, NodeRecord

_WAITS: Final[dict[str, AwaitKind]] = {
    "wait": "wait",
    "webhook": "webhook",
    "sleep": "sleep",
    "subflow": "run",
}


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
            case told.ContextChanged():
                self._changed(event)
            case _:
                pass

    def _began(self, event: told.NodeStarted) -> None:
        node = self._plan.nodes.get(NodeKey.parse(event.node_key).node)
        if node is None:
            raise AppError(
                f"the events are of another blueprint: {self._blueprint.id} has no {event.node_id!r}"
            )
        self._started.setdefault(event.node_key, event.at)
        kind = _WAITS.get(node.definition.uses)
        if kind is not None:
            waiting = NodeRecord(event.node_key, event.node_id, "awaiting", started_at=event.at, kind=kind)
            attempt = event.attempt if kind == "run" else 0
            waiting = replace(waiting, attempt=attempt, wake_at=event.wakes_at)
            self._records.setdefault(event.node_key, waiting)

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
                key,
                event.node_id,
                "completed",
                event.output,
                event.action,
                event.taken,
                {int(position): value for position, value in event.values.items()},
                children=event.children,
                **facts,
            )

    def _changed(self, event: told.ContextChanged) -> None:
        value = MISSING if event.op == "delete" else event.value
        self._writes.setdefault(event.source_node, {})[event.key] = value

    def _forget_orphans(self) -> None:
        """Children of a node that had not ended then: it will make them again."""
        for key in list(self._records):
            owner = owner_of(key)
            if owner is not None and owner not in self._records:
                del self._records[key]

    def result(self) -> RunResult:
        self._forget_orphans()
        known = {key for key, record in self._records.items() if record.children or record.resolved}
        writes = {key: layer for key, layer in self._writes.items() if key in known or key == PATCH}
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
            layered(writes.values()),
            writes,
        )

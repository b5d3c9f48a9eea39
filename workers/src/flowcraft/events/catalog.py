"""The 18 types by name, and how an event is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowcraft.events.event import Event, names_of
from flowcraft.events.jobs import (
    JobEnqueued,
    JobFailed,
    JobProcessed,
)
from flowcraft.events.nodes import (
    ContextChanged,
    EdgeEvaluated,
    NodeFailed,
    NodeFellBack,
    NodeFinished,
    NodeRetried,
    NodeSkipped,
    NodeStarted,
)
from flowcraft.events.runs import (
    BatchFinished,
    BatchStarted,
    WorkflowFinished,
    WorkflowPaused,
    WorkflowResumed,
    WorkflowStalled,
    WorkflowStarted,
)

EVENTS: Final[tuple[type[Event], ...]] = (
    WorkflowStarted,
    WorkflowResumed,
    WorkflowStalled,
    WorkflowPaused,
    WorkflowFinished,
    NodeStarted,
    NodeFinished,
    NodeFailed,
    NodeFellBack,
    NodeRetried,
    NodeSkipped,
    EdgeEvaluated,
    ContextChanged,
    JobEnqueued,
    JobProcessed,
    JobFailed,
    BatchStarted,
    BatchFinished,
)
BY_TYPE: Final[Mapping[str, type[Event]]] = {kind.type: kind for kind in EVENTS}


def event_from(document: Mapping[str, Any]) -> Event:
    """Read what ``to_document`` wrote; fields that this version does not know are ignored.

    Raises:
        ValueError: there is no such type, or a field that it needs is missing.
    """
    kind = BY_TYPE.get(str(document.get("type")))
    if kind is None:
        raise ValueError(f"there is no event type {document.get('type')!r}")
    payload = document.get("payload") or {}
    fields = {name: payload[shown] for name, shown, _ in names_of(kind) if shown in payload}
    for name in ("errors", "taken", "worker_node_ids"):
        if name in fields:
            fields[name] = tuple(fields[name])
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"the event {kind.type} is incomplete: {error}") from None

"""What runs tell: one value for each of upstream's 18 event types, under upstream's names.

An event's document has upstream's shape, ``{"type": …, "payload": {…}}`` with names in camel case, and reads
back to an equal value. Workers may tell the same thing twice (a node executes at least once); what is stored
about a run is in its records, not here.
"""

from __future__ import annotations

from flowcraft.events.catalog import BY_TYPE, EVENTS, event_from
from flowcraft.events.event import Event
from flowcraft.events.jobs import (
    JobEnqueued,
    JobEvent,
    JobFailed,
    JobProcessed,
)
from flowcraft.events.nodes import (
    ContextChanged,
    EdgeEvaluated,
    NodeEvent,
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

__all__ = [
    "BY_TYPE",
    "EVENTS",
    "BatchFinished",
    "BatchStarted",
    "ContextChanged",
    "EdgeEvaluated",
    "Event",
    "JobEnqueued",
    "JobEvent",
    "JobFailed",
    "JobProcessed",
    "NodeEvent",
    "NodeFailed",
    "NodeFellBack",
    "NodeFinished",
    "NodeRetried",
    "NodeSkipped",
    "NodeStarted",
    "WorkflowFinished",
    "WorkflowPaused",
    "WorkflowResumed",
    "WorkflowStalled",
    "WorkflowStarted",
    "event_from",
]

"""What runs tell: one value for each of upstream's 18 event types, under upstream's names.

An event's document has upstream's shape, ``{"type": …, "payload": {…}}`` with names in camel case, and reads
back to an equal value. Workers may tell the same thing twice (a node executes at least once); what is stored
about a run is in its records, not here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final

_HUMP: Final = re.compile(r"_([a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run.

    Attributes:
        execution_id: The run's id.
        blueprint_id: What it runs.
        at: ISO-8601 UTC with milliseconds.
    """

    type: ClassVar[str] = ""

    execution_id: str
    blueprint_id: str = ""
    at: str = ""

    def to_document(self) -> dict[str, Any]:
        """The event as JSON; nulls, and empty texts that are a field's default, are left out."""
        payload: dict[str, Any] = {}
        for name, shown, default in _names(type(self)):
            value = getattr(self, name)
            if value is None or (value == "" and default == ""):
                continue
            payload[shown] = list(value) if isinstance(value, tuple) else value
        return {"type": self.type, "payload": payload}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStarted(Event):
    """A run begins.

    Attributes:
        input: The run's input.
    """

    type: ClassVar[str] = "workflow:start"

    input: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowResumed(Event):
    """A run that waited or was paused goes on."""

    type: ClassVar[str] = "workflow:resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStalled(Event):
    """Nothing touched a run that should be moving; reconciliation looks after it.

    Attributes:
        remaining_nodes: Node keys that are not resolved; 0 where nobody counted them.
    """

    type: ClassVar[str] = "workflow:stall"

    remaining_nodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowPaused(Event):
    """Nothing of a run moves until somebody decides or resumes it."""

    type: ClassVar[str] = "workflow:pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFinished(Event):
    """A run is over.

    Attributes:
        status: ``completed``, ``failed`` or ``cancelled``.
        output: The run's output where it is known here.
        errors: What failed: ``nodeKey``, ``type``, ``message``, ``attempt``, ``at``.
    """

    type: ClassVar[str] = "workflow:finish"

    status: str
    output: Any = None
    errors: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent(Event):
    """Something that happened to a node.

    Attributes:
        node_id: The node in the blueprint.
        node_key: Its place in the run: the id, with rounds and a child's index where there are any.
    """

    node_id: str
    node_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted(NodeEvent):
    """A node begins to execute or to wait.

    Attributes:
        input: Its input; null of a node that waits.
        attempt: The number of its first attempt here.
        wakes_at: Of a sleep: ISO-8601 UTC of its end.
    """

    type: ClassVar[str] = "node:start"

    input: Any = None
    attempt: int = 1
    wakes_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFinished(NodeEvent):
    """A node has its result, and it is recorded.

    Attributes:
        output: Its output.
        action: The action it chose.
        attempt: Attempts used.
        seq: Logical time: one more than the highest of its inputs.
        duration_s: Seconds from its start to its record, waiting included.
        taken: Positions in the blueprint of the edges it takes.
        values: Values of taken edges with a transform, by position.
        children: Of a node that had children: which, as its record has it.
    """

    type: ClassVar[str] = "node:finish"

    output: Any = None
    action: str | None = None
    attempt: int = 1
    seq: int = 0
    duration_s: float = 0.0
    taken: tuple[int, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    children: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(NodeEvent):
    """A node failed for good, and it is recorded.

    Attributes:
        error: ``type``, ``message``, and where known ``line`` and ``cause``.
        attempt: Attempts used.
        seq: Logical time.
        duration_s: Seconds from its start to its record.
    """

    type: ClassVar[str] = "node:error"

    error: Mapping[str, Any]
    attempt: int = 1
    seq: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFellBack(NodeEvent):
    """The attempts of a node are used up, and its fallback begins.

    Attributes:
        fallback: Name of the fallback.
        error: What the node failed with.
    """

    type: ClassVar[str] = "node:fallback"

    fallback: str
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRetried(NodeEvent):
    """An attempt failed and another one will be made.

    Attributes:
        attempt: The number of the attempt that failed.
        delay_s: Seconds until the next one.
        error: What it failed with.
    """

    type: ClassVar[str] = "node:retry"

    attempt: int
    delay_s: float = 0.0
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSkipped(NodeEvent):
    """A node will not run, because no edge into it was taken."""

    type: ClassVar[str] = "node:skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeEvaluated(Event):
    """A node that completed decided about one of its edges.

    Attributes:
        source: Node id.
        target: Node id.
        position: Of the edge in the blueprint.
        source_key: The node key that decided.
        condition: The edge's condition.
        result: Whether the edge is taken.
    """

    type: ClassVar[str] = "edge:evaluate"

    source: str
    target: str
    position: int
    source_key: str = ""
    condition: str | None = None
    result: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextChanged(Event):
    """A context key was written, together with the result of a node.

    Attributes:
        source_node: The node key whose code wrote it; empty if it was patched from outside.
        key: The key.
        op: ``set`` or ``delete``.
        value: The new value.
    """

    type: ClassVar[str] = "context:change"

    source_node: str = ""
    key: str
    op: str = "set"
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent(Event):
    """Something that happened to a message of a run.

    Attributes:
        node_id: The node key to act on; empty is "start this run".
        queue_name: The queue.
    """

    node_id: str = ""
    queue_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnqueued(JobEvent):
    """A message was sent."""

    type: ClassVar[str] = "job:enqueued"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProcessed(JobEvent):
    """A worker has ended a delivery.

    Attributes:
        duration_s: Seconds it held the delivery.
        success: The obligation was discharged, or handed on in order; no defect or backend stood in the way.
        queue_age_s: Seconds between the time the message could be received and its receipt.
    """

    type: ClassVar[str] = "job:processed"

    duration_s: float
    success: bool = True
    queue_age_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(JobEvent):
    """A delivery could not be acted on: a defect, an unreachable backend, or a message that is poison.

    Attributes:
        error: ``type`` and ``message``.
    """

    type: ClassVar[str] = "job:failed"

    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted(Event):
    """A scatter node has made its children.

    Attributes:
        batch_id: The scatter's node key.
        scatter_node_id: The scatter node.
        worker_node_ids: Node keys of the children.
    """

    type: ClassVar[str] = "batch:start"

    batch_id: str
    scatter_node_id: str
    worker_node_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFinished(Event):
    """A gather node has collected the results of a batch.

    Attributes:
        batch_id: The gather's node key.
        gather_node_id: The gather node.
        results: What it gathered.
    """

    type: ClassVar[str] = "batch:finish"

    batch_id: str
    gather_node_id: str
    results: Any = None


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
    fields = {name: payload[shown] for name, shown, _ in _names(kind) if shown in payload}
    for name in ("errors", "taken", "worker_node_ids"):
        if name in fields:
            fields[name] = tuple(fields[name])
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"the event {kind.type} is incomplete: {error}") from None


def _names(kind: type[Event]) -> tuple[tuple[str, str, Any], ...]:
    """Python's and the document's name of each field, and its default."""
    return tuple((field.name, _shown(field.name), field.default) for field in dataclasses.fields(kind))


@lru_cache(maxsize=256)
def _shown(name: str) -> str:
    return _HUMP.sub(lambda found: found.group(1).upper(), name)

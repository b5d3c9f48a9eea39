"""What is told of a node: its execution, the edges it decides about, the context it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flowcraft.events.event import Event


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

"""What is told of a run as a whole, and of its batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flowcraft.events.event import Event


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

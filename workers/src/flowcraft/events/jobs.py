"""What workers tell of their messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flowcraft.events.event import Event


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

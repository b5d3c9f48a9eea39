"""The status of a FlowcraftWorkerPool."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from flowcraft_api.conditions import Condition
from flowcraft_api.documents import StatusModel
from flowcraft_api.timestamps import Timestamp


class RunCounts(StatusModel):
    """How many runs of the pool are in which state."""

    running: int | None = Field(default=None, ge=0)
    """How many runs are being worked on."""

    awaiting: int | None = Field(default=None, ge=0)
    """How many runs wait for a decision or for a time."""

    stalled: int | None = Field(default=None, ge=0)
    """How many runs were found untouched for longer than the threshold, when this was last looked for."""


class LastReconciliation(StatusModel):
    """What the last search for stalled runs found and did."""

    time: Timestamp
    """When it was."""

    stalled_runs: int = Field(default=0, ge=0)
    """How many stalled runs it found."""

    reconciled_runs: int = Field(default=0, ge=0)
    """How many of them it set going again."""

    failed_runs: int = Field(default=0, ge=0)
    """How many of them it could not repair; they are tried again."""


class QueueStatus(StatusModel):
    """The depth of the pool's queue, or why it is unknown. What is unknown is left out; it is never zero."""

    name: str | None = Field(default=None, max_length=63)
    """The name of the queue that the pool uses."""

    summary: str | None = Field(default=None, max_length=32)
    """The number of visible messages as the table shows it: 41, or 32+ where more may be there, or
    unknown."""

    visible: int | None = Field(default=None, ge=0)
    """How many messages can be received now."""

    at_least: bool | None = None
    """Whether there may be more visible messages than that: Azure lets only the first 32 be looked at."""

    in_flight: int | None = Field(default=None, ge=0)
    """How many messages workers hold now, by the workers' own count."""

    delayed: int | None = Field(default=None, ge=0)
    """How many messages wait for their time: alarms of sleeping nodes, and messages that were given back."""

    oldest_message_age: str | None = Field(default=None, max_length=32)
    """For how long the oldest visible message could have been received."""

    unknown_reason: str | None = Field(default=None, max_length=1024)
    """Why the depth of the queue is unknown. The number of workers is then held."""

    @classmethod
    def known(
        cls,
        name: str,
        *,
        visible: int,
        at_least: bool = False,
        in_flight: int | None = None,
        delayed: int | None = None,
        oldest_message_age: str | None = None,
    ) -> Self:
        """The depth as it was measured; single figures may still be unknown (None)."""
        return cls(
            name=name,
            summary=f"{visible}+" if at_least else str(visible),
            visible=visible,
            at_least=at_least,
            in_flight=in_flight,
            delayed=delayed,
            oldest_message_age=oldest_message_age,
        )

    @classmethod
    def unknown(cls, name: str, reason: str) -> Self:
        """The depth could not be measured, and why."""
        return cls(name=name, summary="unknown", unknown_reason=reason[:1024])


class FlowcraftWorkerPoolStatus(StatusModel):
    """What is known about the pool."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation of the pool that this status was computed from."""

    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """The conditions Ready (the pool can do its work), BackendReachable (queue, facts and coordination
    answer), and ScalingActive (the number of workers follows the queue)."""

    replicas: int | None = Field(default=None, ge=0)
    """How many worker pods there are."""

    ready_replicas: int | None = Field(default=None, ge=0)
    """How many worker pods are ready."""

    desired_replicas: int | None = Field(default=None, ge=0)
    """How many worker pods there should be."""

    selector: str | None = Field(default=None, max_length=1024)
    """The label selector of the worker pods, for the scale subresource."""

    runs: RunCounts | None = None
    """How many runs of the pool are in which state."""

    queue: QueueStatus | None = None
    """The depth of the pool's queue, or why it is unknown."""

    last_reconciliation: LastReconciliation | None = None
    """What the last search for stalled runs found and did."""

"""Conditions, as `metav1.Condition` has them: the summary of a state that machines read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from flowcraft_api.documents import StatusModel
from flowcraft_api.timestamps import Timestamp

ConditionStatus = Literal["True", "False", "Unknown"]

MAX_MESSAGE_LENGTH = 4096
MAX_REASON_LENGTH = 256
UNCLEAR_REASON = "Unclear"
"""Stands for a reason that the API server would refuse, such as one that another program wrote."""

_REASON_PATTERN = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_REASON = re.compile(_REASON_PATTERN)


class Condition(StatusModel):
    """One observation about a resource, with the reason for it and the time since when it holds."""

    type: str = Field(max_length=316)
    """The name of the observation, for example Ready or Succeeded."""

    status: ConditionStatus
    """Whether the observation holds: True, False, or Unknown when it cannot be told yet."""

    reason: str = Field(min_length=1, max_length=MAX_REASON_LENGTH, pattern=_REASON_PATTERN)
    """One CamelCase word that says why the condition has this status. It is stable and meant for programs."""

    message: str = Field(default="", max_length=MAX_MESSAGE_LENGTH)
    """A sentence for people: what was seen and, where something is wrong, what to do about it."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation of the resource that this condition was computed from."""

    last_transition_time: Timestamp
    """When the status of this condition last changed from one value to another."""


def condition_of(conditions: Iterable[Condition], condition_type: str) -> Condition | None:
    """The condition of this type, or None."""
    return next((condition for condition in conditions if condition.type == condition_type), None)


def condition(
    condition_type: str,
    status: ConditionStatus,
    reason: str,
    message: str = "",
    *,
    generation: int | None,
    now: datetime,
) -> Condition:
    """A condition that begins now; a message that is too long is cut, a reason that is no word replaced."""
    message = message if len(message) <= MAX_MESSAGE_LENGTH else message[: MAX_MESSAGE_LENGTH - 1] + "…"
    reason = reason if _REASON.fullmatch(reason) and len(reason) <= MAX_REASON_LENGTH else UNCLEAR_REASON
    return Condition(
        type=condition_type,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=now,
    )


def merge_condition(previous: Sequence[Condition], current: Condition) -> Condition:
    """The current condition, with the transition time of the previous one if the status is the same."""
    before = condition_of(previous, current.type)
    if before is None or before.status != current.status:
        return current
    return current.model_copy(update={"last_transition_time": before.last_transition_time})


def merge_conditions(previous: Sequence[Condition], current: Sequence[Condition]) -> list[Condition]:
    """All current conditions in their order, each merged with its predecessor.

    A type that is no longer reported disappears: the caller reports every type that it owns, always.
    """
    return [merge_condition(previous, each) for each in current]

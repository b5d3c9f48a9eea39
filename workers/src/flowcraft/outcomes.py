"""What comes of executing a node, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowcraft.failures import ErrorDetail
from flowcraft.node import NodeResult
from flowcraft.values import value_class


@value_class
class Completed:
    """The node has a result.

    Attributes:
        result: Its output is plain JSON, independent of the node's objects.
        writes: Context keys it wrote; ``MISSING`` marks a deleted one.
        attempts: Attempts made on this node key so far, the fallback included.
    """

    result: NodeResult
    writes: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The node failed for good.

    Attributes:
        error: What the last attempt (the fallback, where it ran) failed with.
        attempts: Attempts made on this node key so far, the fallback included.
        exception: The same as Python's object.
    """

    error: ErrorDetail
    attempts: int
    exception: BaseException


@dataclass(frozen=True, slots=True)
class RetryLater:
    """An attempt failed and the next one is too far away to wait for here.

    Attributes:
        delay_s: Seconds from now.
        attempts: Attempts made so far; give one more as ``first_attempt`` when it is time.
        error: What the attempt failed with.
    """

    delay_s: float
    attempts: int
    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The result is not wanted any more; nothing is to be recorded.

    Attributes:
        attempts: Attempts begun so far.
    """

    attempts: int


Outcome = Completed | Failed | RetryLater | Cancelled

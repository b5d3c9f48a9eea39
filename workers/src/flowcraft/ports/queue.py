"""The queue port: signals that say "act on this node of this run"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """One receipt of one message: the right to renew, rewrite or delete it until it runs out.

    Attributes:
        message_id: Stable over redeliveries of the message.
        receipt: Changes with every receive and update; a stale one is refused.
        body: The text as it was sent or last rewritten.
        delivery_count: How often it was received, this time included; never goes back.
        inserted_at: When it was first sent.
    """

    message_id: str
    receipt: str
    body: str
    delivery_count: int
    inserted_at: datetime


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What could be measured of a queue; ``None`` is "not known", never zero.

    Attributes:
        visible: Messages that could be received now; exact where ``exact``, else at least so many.
        exact: Whether ``visible`` is exact.
        total: All messages, invisible and delayed ones included (approximate).
        oldest_visible: The later of insertion and ``notBefore`` of the oldest visible message.
    """

    visible: int
    exact: bool
    total: int
    oldest_visible: datetime | None = None


class JobQueue(Protocol):
    """An at-least-once queue with visibility timeouts: no order, duplicates possible.

    Every method raises ``BackendUnavailableError`` when the service cannot be reached or refuses for
    load (the call may or may not have taken effect), and ``BackendRefusedError`` when it refuses the
    credentials or the queue does not exist.
    """

    async def receive(self, max_messages: int, visibility_timeout_s: float) -> list[Delivery]:
        """Take up to ``max_messages`` (at most 32) visible messages; they are hidden for the timeout."""
        ...

    async def send(self, body: str, delay_s: float = 0.0) -> None:
        """Add a message that never expires, visible after ``delay_s`` (at most 7 days).

        Raises:
            PayloadTooLargeError: the body is over the limit of the service (64 KiB encoded).
        """
        ...

    async def update(self, delivery: Delivery, body: str, visibility_timeout_s: float) -> Delivery:
        """Rewrite the body and hide the message for the timeout (0 shows it now); gives the new receipt.

        Raises:
            DeliveryLostError: the receipt is stale: the message was received again, or deleted.
        """
        ...

    async def delete(self, delivery: Delivery) -> None:
        """Remove the message; a message that is already gone is removed.

        Raises:
            DeliveryLostError: the receipt is stale: the message was received again.
        """
        ...

    async def send_poison(self, body: str) -> None:
        """Add a message to the poison queue of this queue."""
        ...

    async def depth(self) -> QueueDepth:
        """Measure the queue without taking anything from it."""
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when a message may have become visible, at the latest after ``timeout_s``.

        A backend without notifications just sleeps; returning early is always allowed.
        """
        ...

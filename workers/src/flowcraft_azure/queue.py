"""The job queue on Azure Queue Storage."""

from __future__ import annotations

import base64
import binascii
import math
import random as randomness
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from flowcraft.ports import Clock, Delivery, JobQueue, QueueDepth
from flowcraft.ports.errors import DeliveryLostError, PayloadTooLargeError
from flowcraft.times import parse_time
from flowcraft_azure.faults import Faults

MESSAGE_LIMIT_BYTES: Final = 64 * 1024
"""Largest message as sent (learn.microsoft.com, "scalability-targets" of Queue Storage)."""
RECEIVE_LIMIT: Final = 32
PEEK_LIMIT: Final = 32
MAX_VISIBILITY_S: Final = 7 * 24 * 3600
NEVER: Final = -1
"""Time to live of a message that never expires; the service's default is seven days."""


class AzureJobQueue(JobQueue):
    """One queue of a storage account, and its poison queue.

    Bodies travel as they are, whatever they are (``Message.parse`` reads plain and base64 JSON alike). With
    ``base64_messages``, for readers that expect it as Azure Functions do, they are sent as base64, and both
    forms are received.
    """

    def __init__(
        self,
        client: QueueClient,
        poison: QueueClient,
        *,
        clock: Clock,
        random: randomness.Random,
        base64_messages: bool = False,
    ) -> None:
        self._client = client
        self._poison = poison
        self._clock = clock
        self._random = random
        self._base64 = base64_messages
        self._faults = Faults("Queue Storage", f"queue {client.queue_name}")
        self._poison_faults = Faults("Queue Storage", f"queue {poison.queue_name}")

    @property
    def name(self) -> str:
        """The queue's name."""
        return str(self._client.queue_name)

    async def receive(self, max_messages: int, visibility_timeout_s: float) -> list[Delivery]:
        """See ``JobQueue.receive``; one request."""
        wanted = min(max_messages, RECEIVE_LIMIT)
        hidden_s = max(1, _seconds(visibility_timeout_s))
        with self._faults:
            pages = self._client.receive_messages(
                messages_per_page=wanted, visibility_timeout=hidden_s
            ).by_page()
            try:
                page = await anext(pages)
            except StopAsyncIteration:
                return []
            return [self._delivery(message) async for message in page]

    async def send(self, body: str, delay_s: float = 0.0) -> None:
        """See ``JobQueue.send``; one request."""
        text = self._encoded(body)
        with self._faults:
            await self._client.send_message(
                text, visibility_timeout=_seconds(delay_s) or None, time_to_live=NEVER
            )

    async def update(self, delivery: Delivery, body: str, visibility_timeout_s: float) -> Delivery:
        """See ``JobQueue.update``; one request."""
        text = self._encoded(body)
        with self._faults:
            try:
                updated = await self._client.update_message(
                    delivery.message_id,
                    delivery.receipt,
                    content=text,
                    visibility_timeout=_seconds(visibility_timeout_s),
                )
            except HttpResponseError as error:
                _raise_if_lost(error, delivery)
                raise
        return Delivery(
            delivery.message_id,
            str(updated.pop_receipt),
            body,
            delivery.delivery_count,
            delivery.inserted_at,
        )

    async def delete(self, delivery: Delivery) -> None:
        """See ``JobQueue.delete``; one request.

        The service tells a message that was received again from one that is gone only by PopReceiptMismatch;
        where it answers 404 for both, the other delivery finds the work done and deletes its own receipt.
        """
        with self._faults:
            try:
                await self._client.delete_message(delivery.message_id, delivery.receipt)
            except ResourceNotFoundError as error:
                if _code(error) != "MessageNotFound":
                    raise
            except HttpResponseError as error:
                _raise_if_lost(error, delivery)
                raise

    async def send_poison(self, body: str) -> None:
        """See ``JobQueue.send_poison``; one request."""
        text = self._encoded(body)
        with self._poison_faults:
            await self._poison.send_message(text, time_to_live=NEVER)

    async def depth(self) -> QueueDepth:
        """See ``JobQueue.depth``: a peek, exact below 32 messages, and the service's approximate count."""
        with self._faults:
            peeked = await self._client.peek_messages(max_messages=PEEK_LIMIT)
            properties = await self._client.get_queue_properties()
        visible = len(peeked)
        return QueueDepth(
            visible=visible,
            exact=visible < PEEK_LIMIT,
            total=max(visible, properties.approximate_message_count or 0),
            oldest_visible=_oldest(peeked),
        )

    async def wait(self, timeout_s: float) -> None:
        """Sleep for four to five fifths of the timeout: idle workers must not receive in step."""
        await self._clock.sleep(timeout_s * self._random.uniform(0.8, 1.0))

    def _encoded(self, body: str) -> str:
        text = base64.b64encode(body.encode()).decode() if self._base64 else body
        size = len(text.encode())
        if size > MESSAGE_LIMIT_BYTES:
            raise PayloadTooLargeError(
                f"a message of {size} bytes is more than the {MESSAGE_LIMIT_BYTES} that Queue Storage takes"
            )
        return text

    def _delivery(self, message: QueueMessage) -> Delivery:
        return Delivery(
            message_id=str(message.id),
            receipt=str(message.pop_receipt),
            body=decoded(message.content or "") if self._base64 else message.content or "",
            delivery_count=message.dequeue_count or 1,
            inserted_at=message.inserted_on or datetime.fromtimestamp(0, UTC),
        )


def decoded(text: str) -> str:
    """The body in a message that may be base64; JSON, and what is no base64 of text, is taken as it is."""
    if text[:1] in "{[":
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text


def _seconds(seconds: float) -> int:
    return min(math.ceil(seconds), MAX_VISIBILITY_S) if seconds > 0 else 0


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _raise_if_lost(error: HttpResponseError, delivery: Delivery) -> None:
    if _code(error) in {"PopReceiptMismatch", "MessageNotFound"}:
        raise DeliveryLostError(f"message {delivery.message_id} was received again or is gone") from error


def _oldest(messages: Iterable[QueueMessage]) -> datetime | None:
    times = [time for message in messages if (time := _visible_since(message)) is not None]
    return min(times, default=None)


def _visible_since(message: QueueMessage) -> datetime | None:
    inserted: datetime | None = message.inserted_on
    try:
        document: Any = orjson.loads(decoded(message.content or ""))
    except orjson.JSONDecodeError:
        return inserted
    delayed = parse_time(document.get("notBefore")) if isinstance(document, dict) else None
    if inserted is None or delayed is None:
        return inserted or delayed
    return max(inserted, delayed)

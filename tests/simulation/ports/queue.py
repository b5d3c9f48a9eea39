"""The queue port in memory: any visible message may come next."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tests.simulation.link import Link

from flowcraft.distributed.message import Message, MessageError
from flowcraft.ports import Clock, Delivery, QueueDepth
from flowcraft.ports.errors import DeliveryLostError, PayloadTooLargeError
from flowcraft.times import parse_time

MAX_BODY_BYTES: Final = 64 * 1024
RESOLUTION_S: Final = 1e-6
"""Times that differ by less are the same: in virtual time, waiting for less would be waiting for ever."""


@dataclass
class Held:
    """A message as the service holds it."""

    number: int
    body: str
    inserted_at: datetime
    visible_at: float
    receipt: int = 0
    deliveries: int = 0


@dataclass
class QueueServer:
    """The service: one queue and its poison queue, shared by every process."""

    clock: Clock
    rng: random.Random
    messages: dict[int, Held] = field(default_factory=dict)
    poison: QueueServer | None = None
    sent: list[str] = field(default_factory=list)
    sent_at: list[tuple[float, str]] = field(default_factory=list)
    changed: Callable[[], None] = lambda: None
    _numbers: int = 0

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def visible(self) -> list[Held]:
        now = self.clock.monotonic() + RESOLUTION_S
        return [message for message in self.messages.values() if message.visible_at <= now]

    def receive(self, max_messages: int, visibility_timeout_s: float) -> list[Delivery]:
        found = self.visible()
        self.rng.shuffle(found)
        deliveries = []
        for message in found[: min(max_messages, 32)]:
            message.receipt = self._number()
            message.deliveries += 1
            message.visible_at = self.clock.monotonic() + visibility_timeout_s
            deliveries.append(self._delivery(message))
        return deliveries

    def send(self, body: str, delay_s: float = 0.0) -> None:
        check_size(body)
        self.sent.append(body)
        self.sent_at.append((self.clock.monotonic(), body))
        self.insert(body, delay_s)

    def insert(self, body: str, delay_s: float = 0.0) -> None:
        """Put a message there without counting it as sent: a duplicate made by the service."""
        number = self._number()
        self.messages[number] = Held(
            number, body, self.clock.now(), self.clock.monotonic() + max(delay_s, 0.0)
        )
        self.changed()

    def update(self, delivery: Delivery, body: str, visibility_timeout_s: float) -> Delivery:
        check_size(body)
        message = self.messages.get(int(delivery.message_id))
        if message is None or message.receipt != int(delivery.receipt):
            raise DeliveryLostError(f"message {delivery.message_id} was received again, or deleted")
        message.body = body
        message.receipt = self._number()
        message.visible_at = self.clock.monotonic() + visibility_timeout_s
        self.changed()
        return self._delivery(message)

    def delete(self, delivery: Delivery) -> None:
        message = self.messages.get(int(delivery.message_id))
        if message is None:
            return
        if message.receipt != int(delivery.receipt):
            raise DeliveryLostError(f"message {delivery.message_id} was received again")
        del self.messages[message.number]

    def send_poison(self, body: str) -> None:
        if self.poison is None:
            self.poison = QueueServer(self.clock, self.rng)
        self.poison.send(body)

    def depth(self) -> QueueDepth:
        visible = self.visible()
        return QueueDepth(
            visible=len(visible),
            exact=True,
            total=len(self.messages),
            oldest_visible=min((_since(message) for message in visible), default=None),
        )

    def next_visible_s(self) -> float:
        now = self.clock.monotonic()
        return min((message.visible_at - now for message in self.messages.values()), default=math.inf)

    def _delivery(self, message: Held) -> Delivery:
        return Delivery(
            str(message.number), str(message.receipt), message.body, message.deliveries, message.inserted_at
        )


class SimulatedQueue:
    """A process's view of the queue; implements the ``JobQueue`` port."""

    def __init__(self, server: QueueServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def receive(self, max_messages: int, visibility_timeout_s: float) -> list[Delivery]:
        return await self._link.call(
            "queue.receive", lambda: self._server.receive(max_messages, visibility_timeout_s), _bodies
        )

    async def send(self, body: str, delay_s: float = 0.0) -> None:
        await self._link.call("queue.send", lambda: self._server.send(body, delay_s), lambda _: body)

    async def update(self, delivery: Delivery, body: str, visibility_timeout_s: float) -> Delivery:
        return await self._link.call(
            "queue.update",
            lambda: self._server.update(delivery, body, visibility_timeout_s),
            lambda _: f"#{delivery.message_id} {body} for {visibility_timeout_s:.1f} s",
        )

    async def delete(self, delivery: Delivery) -> None:
        await self._link.call(
            "queue.delete",
            lambda: self._server.delete(delivery),
            lambda _: f"#{delivery.message_id} {delivery.body}",
        )

    async def send_poison(self, body: str) -> None:
        await self._link.call("queue.send_poison", lambda: self._server.send_poison(body), lambda _: body)

    async def depth(self) -> QueueDepth:
        return await self._link.call("queue.depth", self._server.depth)

    async def wait(self, timeout_s: float) -> None:
        await self._link.wait(min(timeout_s, max(self._server.next_visible_s(), 0.0)))


def check_size(body: str) -> None:
    if len(body.encode()) > MAX_BODY_BYTES:
        raise PayloadTooLargeError(f"a message of {len(body.encode())} bytes is over the limit")


def _bodies(deliveries: list[Delivery]) -> str:
    return ", ".join(f"#{one.message_id} {one.body} ({one.delivery_count})" for one in deliveries)


def _since(message: Held) -> datetime:
    try:
        not_before = parse_time(Message.parse(message.body).not_before)
    except MessageError:
        return message.inserted_at
    return message.inserted_at if not_before is None else max(message.inserted_at, not_before)

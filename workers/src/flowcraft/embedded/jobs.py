"""The queue port on SQLite: messages are rows, a receipt is a random number in the row."""

from __future__ import annotations

import math
import sqlite3
from datetime import UTC, datetime
from typing import Final

from flowcraft.distributed.message import MAX_BODY_BYTES, Message, MessageError
from flowcraft.embedded.database import Database
from flowcraft.ports.errors import DeliveryLostError, PayloadTooLargeError
from flowcraft.ports.queue import Delivery, QueueDepth
from flowcraft.times import parse_time

MAX_RECEIVED: Final = 32
MAX_DELAY_S: Final = 7 * 24 * 3600.0
COUNTED_UP_TO: Final = 10_000
"""Visible messages counted exactly by ``depth``; beyond, counting would cost more than it tells."""
PEEKED: Final = 32
"""Visible messages looked into for the oldest."""

_SEND = "INSERT INTO message VALUES (?, ?, ?, 0, 0, ?, ?)"
_RECEIVE = """
UPDATE message SET visible_at = ?, receipt = ?, deliveries = deliveries + 1
WHERE id IN (SELECT id FROM message WHERE queue = ? AND visible_at <= ? ORDER BY visible_at LIMIT ?)
RETURNING id, body, deliveries, inserted_at
"""
_UPDATE = "UPDATE message SET body = ?, visible_at = ?, receipt = ? WHERE id = ? AND receipt = ?"
_DELETE = "DELETE FROM message WHERE id = ? AND receipt = ?"
_EXISTS = "SELECT 1 FROM message WHERE id = ?"
_NEXT = "SELECT min(visible_at) FROM message WHERE queue = ?"
_VISIBLE = "SELECT count(*) FROM (SELECT 1 FROM message WHERE queue = ? AND visible_at <= ? LIMIT ?)"
_TOTAL = "SELECT count(*) FROM message WHERE queue = ?"
_OLDEST = (
    "SELECT inserted_at, body FROM message WHERE queue = ? AND visible_at <= ? ORDER BY visible_at LIMIT ?"
)


class EmbeddedQueue:
    """One named queue of the file; implements the ``JobQueue`` port."""

    def __init__(self, database: Database, name: str) -> None:
        """Args: the open file; the queue's name (it needs no creating)."""
        self._database = database
        self.name = name

    async def receive(self, max_messages: int, visibility_timeout_s: float) -> list[Delivery]:
        """Take visible messages, those longest visible first."""
        receipt = self._database.nonce()
        limit = min(max_messages, MAX_RECEIVED)

        def work(connection: sqlite3.Connection) -> list[tuple[int, str, int, float]]:
            now = self._database.now()
            parameters = (now + visibility_timeout_s, receipt, self.name, now, limit)
            return connection.execute(_RECEIVE, parameters).fetchall()

        rows = await self._database.single(work)
        return [
            Delivery(str(number), str(receipt), body, deliveries, datetime.fromtimestamp(inserted_at, UTC))
            for number, body, deliveries, inserted_at in rows
        ]

    async def send(self, body: str, delay_s: float = 0.0) -> None:
        """Add a message."""
        await self._send(self.name, body, delay_s)

    async def update(self, delivery: Delivery, body: str, visibility_timeout_s: float) -> Delivery:
        """Rewrite the body and hide the message for the timeout."""
        _check_size(body)
        receipt = self._database.nonce()
        versions = (receipt, int(delivery.message_id), int(delivery.receipt))

        def work(connection: sqlite3.Connection) -> int:
            visible_at = self._database.now() + visibility_timeout_s
            return connection.execute(_UPDATE, (body, visible_at, *versions)).rowcount

        if not await self._database.single(work):
            raise DeliveryLostError(f"message {delivery.message_id} was received again, or deleted")
        if visibility_timeout_s <= 0:
            self._database.ring()
        return Delivery(
            delivery.message_id, str(receipt), body, delivery.delivery_count, delivery.inserted_at
        )

    async def delete(self, delivery: Delivery) -> None:
        """Remove the message."""
        number = int(delivery.message_id)
        receipt = int(delivery.receipt)

        def work(connection: sqlite3.Connection) -> bool:
            if connection.execute(_DELETE, (number, receipt)).rowcount:
                return True
            return connection.execute(_EXISTS, (number,)).fetchone() is None

        if not await self._database.single(work):
            raise DeliveryLostError(f"message {delivery.message_id} was received again")

    async def send_poison(self, body: str) -> None:
        """Add a message to the queue ``<name>-poison``."""
        await self._send(f"{self.name}-poison", body, 0.0)

    async def depth(self) -> QueueDepth:
        """Measure the queue."""
        now = self._database.now()

        def work(connection: sqlite3.Connection) -> tuple[int, int, list[tuple[float, str]]]:
            visible = connection.execute(_VISIBLE, (self.name, now, COUNTED_UP_TO + 1)).fetchone()[0]
            total = connection.execute(_TOTAL, (self.name,)).fetchone()[0]
            return visible, total, connection.execute(_OLDEST, (self.name, now, PEEKED)).fetchall()

        visible, total, first = await self._database.read(work)
        return QueueDepth(
            visible=min(visible, COUNTED_UP_TO),
            exact=visible <= COUNTED_UP_TO,
            total=total,
            oldest_visible=min((_since(inserted_at, body) for inserted_at, body in first), default=None),
        )

    async def wait(self, timeout_s: float) -> None:
        """Return when a message is visible, at the latest after ``timeout_s``."""

        def due(connection: sqlite3.Connection) -> float:
            (visible_at,) = connection.execute(_NEXT, (self.name,)).fetchone()
            return math.inf if visible_at is None else float(visible_at) - self._database.now()

        await self._database.changed(timeout_s, due)

    async def _send(self, queue: str, body: str, delay_s: float) -> None:
        _check_size(body)
        now = self._database.now()
        visible_at = now + min(max(delay_s, 0.0), MAX_DELAY_S)
        parameters = (self._database.nonce(), queue, visible_at, now, body)
        await self._database.single(lambda connection: connection.execute(_SEND, parameters))
        self._database.ring()


def _check_size(body: str) -> None:
    if len(body) > MAX_BODY_BYTES or len(body.encode()) > MAX_BODY_BYTES:
        raise PayloadTooLargeError(
            f"a message of {len(body.encode())} bytes is over the limit of {MAX_BODY_BYTES}"
        )


def _since(inserted_at: float, body: str) -> datetime:
    """Since when a message could have been taken: a delay on purpose is not waiting."""
    inserted = datetime.fromtimestamp(inserted_at, UTC)
    try:
        not_before = parse_time(Message.parse(body).not_before)
    except MessageError:
        return inserted
    return inserted if not_before is None else max(inserted, not_before)

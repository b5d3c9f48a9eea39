"""The poison queue, for people: what is in it, and putting messages back or dropping them.

A queue cannot be asked for one message, so looking takes all of them for a moment and gives them back. Who
looks at the same time sees fewer; if a look is cut off, the messages are there again after ``HOLD_S``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import orjson

from flowcraft.distributed.message import Message, MessageError
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.ports import Delivery, FactStore, JobQueue
from flowcraft.ports.errors import DeliveryLostError
from flowcraft_api.wire import TERMINAL_STATUSES

HOLD_S: Final = 30.0
MOST: Final = 10_000
"""Messages looked at in one go."""


@dataclass(frozen=True, slots=True)
class PoisonMessage:
    """A message that was taken out of its queue.

    Attributes:
        id: Its id in the poison queue.
        reason: Why it is there.
        deliveries: How often it had been delivered.
        body: The original body.
        moved_at: When it was moved.
        message: What the body says; None if it cannot be read.
    """

    id: str
    reason: str
    deliveries: int
    body: str
    moved_at: datetime
    message: Message | None

    @classmethod
    def of(cls, delivery: Delivery) -> PoisonMessage:
        """Read what a worker left; what somebody else put there is taken as a body without a reason."""
        reason, deliveries, body = "", 0, delivery.body
        try:
            document = orjson.loads(delivery.body)
        except orjson.JSONDecodeError:
            document = None
        if isinstance(document, dict) and isinstance(document.get("body"), str):
            body, reason = document["body"], str(document.get("reason", ""))
            deliveries = document["deliveries"] if isinstance(document.get("deliveries"), int) else 0
        try:
            message = Message.parse(body)
        except MessageError:
            message = None
        return cls(delivery.message_id, reason, deliveries, body, delivery.inserted_at, message)


@dataclass(frozen=True, slots=True)
class PoisonQueue:
    """Looks into the poison queue of a queue, and empties it.

    Attributes:
        queue: Where the messages came from.
        poison: Where they are.
        facts: Tells which runs have ended.
    """

    queue: JobQueue
    poison: JobQueue
    facts: FactStore

    async def messages(self) -> list[PoisonMessage]:
        """All messages, the oldest first."""
        held = await self._take_all()
        await self._give_back(held)
        found = [PoisonMessage.of(delivery) for delivery in held]
        return sorted(found, key=lambda message: (message.moved_at, message.id))

    async def requeue(self, ids: Collection[str] | None = None) -> tuple[list[str], dict[str, str]]:
        """Send messages back to where they came from (None: all); the ids sent, and why others were not.

        A worker looks at the facts before it acts on such a message. What belongs to a run that has ended
        stays: sending it would change nothing.
        """
        sent: list[str] = []
        refused: dict[str, str] = {}
        held = await self._take_all()
        try:
            for delivery in _wanted(held, ids):
                message = PoisonMessage.of(delivery)
                why = await self._useless(message)
                if why:
                    refused[message.id] = why
                    continue
                await self.queue.send(_afresh(message))
                await self._remove(delivery)  # only now: a crash before it means twice, never none
                held.remove(delivery)
                sent.append(message.id)
        finally:
            await self._give_back(held)
        return sent, refused

    async def drop(self, ids: Collection[str] | None = None) -> list[str]:
        """Delete messages for good (None: all); gives their ids. No run needs what is in a poison queue."""
        held = await self._take_all()
        dropped = _wanted(held, ids)
        try:
            for delivery in dropped:
                await self._remove(delivery)
        finally:
            await self._give_back([delivery for delivery in held if delivery not in dropped])
        return [delivery.message_id for delivery in dropped]

    async def advice(self, message: PoisonMessage) -> str:
        """What a person can do about a message."""
        if message.message is None:
            return "nobody can read it: find out who sent it, then drop it"
        return await self._useless(message) or "its run goes on without it: drop it; or requeue it"

    async def _useless(self, message: PoisonMessage) -> str:
        if message.message is None:
            return ""
        run_id = message.message.run_id
        stored = await self.facts.read_header(run_id)
        if stored is None:
            return f"there is no run {run_id} (any more): drop it"
        status = stored.document.get("status")
        if status in ("failed", "cancelled"):
            return f"its run {run_id} has {status}: drop it, and go on with `flowcraft retry {run_id}`"
        return f"its run {run_id} has {status}: drop it" if status in TERMINAL_STATUSES else ""

    async def _take_all(self) -> list[Delivery]:
        held: list[Delivery] = []
        while len(held) < MOST and (batch := await self.poison.receive(32, HOLD_S)):
            held.extend(batch)
        return held

    async def _give_back(self, held: Collection[Delivery]) -> None:
        for delivery in held:
            try:
                await self.poison.update(delivery, delivery.body, 0.0)
            except DeliveryLostError:
                continue  # it took longer than it was held: it is visible already

    async def _remove(self, delivery: Delivery) -> None:
        try:
            await self.poison.delete(delivery)
        except DeliveryLostError:
            raise RefusedError(
                "somebody else works on the poison queue now; try again", retryable=True
            ) from None


def _wanted(held: list[Delivery], ids: Collection[str] | None) -> list[Delivery]:
    return [delivery for delivery in held if ids is None or delivery.message_id in ids]


def _afresh(message: PoisonMessage) -> str:
    """The body to send: its deliveries start anew, and whoever gets it looks before executing."""
    if message.message is None:
        return message.body
    return replace(message.message, base=0, not_before="", check=True).to_body()

"""Custody of one delivery: its receipt, the claims held for it, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from flowcraft.distributed.message import Message, claim_name, poison_body
from flowcraft.distributed.services import Services
from flowcraft.ports import Claim, ClaimRequest, Delivery, Discharge
from flowcraft.ports.errors import BackendUnavailableError, DeliveryLostError
from flowcraft.times import iso

MAX_DELAY_S: Final = 7 * 24 * 3600.0 - 60
"""Longest delay of a message in Queue Storage, with a margin; longer alarms are chained."""


@dataclass(slots=True)
class Ledger:
    """What was done under a delivery so far, to be told at its end.

    Attributes:
        passed: Node keys whose turn is over, whose successors are signalled, and which the message has left.
        held: Other node keys claimed: the one whose turn it is, and its successor while that is signalled.
        sent: Messages sent that no claim has counted.
        resolved: Node keys resolved.
    """

    passed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    sent: int = 0
    resolved: int = 0

    @property
    def claims(self) -> list[str]:
        """Node keys whose claims are held."""
        return self.passed + self.held


class Custody:
    """Holds a delivery, and ends it once: deleted, given back, turned into an alarm, poisoned, or lost.

    Attributes:
        delivery: The newest receipt.
        message: What it says; it always names the node key reached, so every rewrite may store it.
        lost: The message was delivered again: whoever has it now goes on from the facts.
        token: Token of this delivery's claims and records.
        ledger: What was done under it.
    """

    def __init__(self, services: Services, delivery: Delivery) -> None:
        self._services = services
        self._receipt = asyncio.Lock()
        self.delivery = delivery
        self.message: Message | None = None
        self.lost = False
        self.token = f"{services.random.getrandbits(64):016x}"
        self.ledger = Ledger()
        self._over = False
        self._waits = ""

    @property
    def run_id(self) -> str:
        """The run it belongs to; empty before the message is read."""
        return self.message.run_id if self.message else ""

    @property
    def unexplained(self) -> int:
        """Deliveries that no give-back and no alarm explains, this one included."""
        return self.delivery.delivery_count - (self.message.base if self.message else 0)

    def move_on(self, passed: str, key: str, session: str, *, woken: bool = False) -> None:
        """From here on the message stands for ``key``: all that follows from ``passed`` is signalled.

        A key that is ``woken`` has awaited its children.
        """
        self._pass(claim_name(passed, woken=self.woken, alarm=self.alarm))
        if self.message is not None:
            # Deliveries before this one were for keys that are passed: they say nothing against this key.
            base = self.delivery.delivery_count - 1
            self.message = replace(self.message.at(key, session), base=base, woken=woken)

    def _pass(self, name: str) -> None:
        if name in self.ledger.held:
            self.ledger.held.remove(name)
        self.ledger.passed.append(name)

    @property
    def woken(self) -> bool:
        """Whether the node key reached has awaited its children."""
        return self.message is not None and self.message.woken

    @property
    def alarm(self) -> bool:
        """Whether the node key reached has awaited something else."""
        return self.message is not None and self.message.alarm

    # ---- claims ----

    async def claim(self, key: str, *, activity: int = 0, woken: bool = False, alarm: bool = False) -> Claim:
        """Claim a node key for this delivery; ``woken`` or ``alarm`` if it has awaited something.

        Without the store, work may be done twice; a record counts once.
        """
        name = claim_name(key, woken=woken, alarm=alarm)
        lease_s = self._services.settings.visibility_timeout_s
        request = ClaimRequest(self.run_id, name, self.token, lease_s, activity)
        try:
            answer = await self._services.coordination.claim(request)
        except BackendUnavailableError:
            answer = Claim.CLAIMED
        except asyncio.CancelledError:
            self.ledger.held.append(name)  # perhaps: it is given up with the others
            raise
        if answer is Claim.CLAIMED:
            self.ledger.held.append(name)
        return answer

    async def discharge(self, *, parked: bool, moved: int, hint: str = "") -> int | None:
        """End the claims: keys passed are done, the held ones too unless they are parked.

        None is done of a delivery that was lost before its end: whoever has the message now starts from an
        older key.

        Gives the run's count of open obligations; None where there was nothing to tell, or nobody to ask.
        """
        ledger, self.ledger = self.ledger, Ledger()
        try:
            return await self._tell(ledger, parked=parked, moved=moved, hint=hint)
        except asyncio.CancelledError:
            self.ledger.held = ledger.claims  # a draining worker gives them up instead, with its message
            self._over = False
            raise

    async def _tell(self, ledger: Ledger, *, parked: bool, moved: int, hint: str = "") -> int | None:
        done = ledger.passed if parked else ledger.claims
        released = ledger.held if parked else []
        if self.lost and not self._over:  # the message could not be rewritten
            done, released = [], ledger.claims
        if not (done or released or hint):
            return None
        discharge = Discharge(
            run_id=self.run_id,
            token=self.token,
            done=done,
            released=released,
            activity=moved + ledger.sent,
            progress=ledger.resolved,
            channel=self._services.channel if hint else "",
            hint=hint,
        )
        try:
            return await self._services.coordination.discharge(discharge)
        except BackendUnavailableError:
            return None

    # ---- the receipt ----

    async def renew(self) -> None:
        """Extend the message and the claims; keys that the rewritten message has left are done."""
        timeout_s = self._services.settings.visibility_timeout_s
        left = Ledger(passed=list(self.ledger.passed), resolved=self.ledger.resolved)
        try:
            async with self._receipt:
                if not self.lost:
                    self.delivery = await self._services.queue.update(self.delivery, self._body(), timeout_s)
        except DeliveryLostError:
            self.lost = True
        if left.passed and not self.lost:
            del self.ledger.passed[: len(left.passed)]
            self.ledger.resolved -= left.resolved
            await self._tell(left, parked=True, moved=0)
        if self.ledger.claims:
            await self._services.coordination.renew(self.run_id, self.ledger.claims, self.token, timeout_s)

    async def give_back(self, delay_s: float, *, counts: bool = False) -> None:
        """Let somebody act on the node key reached after a delay.

        ``counts`` leaves the delivery an unexplained one: too many of them make the message poison. Otherwise
        this delivery is explained, and those before it count as they did.
        """
        base = self.message.base if self.message is not None else 0
        await self._rewrite(delay_s, base if counts else base + 1)
        if self.lost and self._over:  # it is deleted, and nobody heard so
            await (self.park(self._waits) if self._waits else self.discharge(parked=False, moved=-1))
        else:
            await self.discharge(parked=True, moved=0)

    async def become_alarm(self, key: str, session: str, delay_s: float) -> int | None:
        """Hide the message until a parked node key is due; gives the count of open obligations, if known."""
        if self.message is not None:
            self.message = replace(self.message.at(key, session), alarm=True)
        await self._rewrite(delay_s, self.delivery.delivery_count)
        return await self.park(key)

    async def park(self, key: str) -> int | None:
        """End the claims of a node key that waits: it has begun, and whatever wakes it claims something else.

        Gives the run's count of open obligations, if known.
        """
        if key in self.ledger.held:
            self._pass(key)
        return await self.discharge(parked=True, moved=0 if self.lost and not self._over else -1)

    async def delete(self, waits: str = "") -> None:
        """Remove the message, unless it was lost: nothing is left to do but for a key that ``waits``."""
        self._over, self._waits = True, waits
        async with self._receipt:
            if not self.lost:
                try:
                    await self._services.queue.delete(self.delivery)
                except DeliveryLostError:
                    self.lost = True

    async def poison(self, reason: str) -> None:
        """Move the message to the poison queue."""
        services = self._services
        services.log.warning("message moved to the poison queue", reason=reason, run_id=self.run_id)
        await services.queue.send_poison(
            poison_body(self.delivery.body, reason, self.delivery.delivery_count)
        )
        await self.delete()

    async def _rewrite(self, delay_s: float, base: int) -> None:
        async with self._receipt:
            if self.lost:
                return
            body = self._body()
            if self.message is not None:
                not_before = iso(self._services.clock.now() + timedelta(seconds=delay_s))
                body = replace(self.message, base=base, not_before=not_before).to_body()
            try:
                hidden_s = min(delay_s, MAX_DELAY_S)
                self.delivery = await self._services.queue.update(self.delivery, body, hidden_s)
            except DeliveryLostError:
                self.lost = True

    def _body(self) -> str:
        return self.message.to_body() if self.message else self.delivery.body

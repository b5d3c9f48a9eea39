"""A job: one delivery of one message, from its receipt until it is deleted, given back or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from flowcraft.distributed import header as headers
from flowcraft.distributed.ending import failure, publish_completed, publish_failed
from flowcraft.distributed.gathering import NotReadyError
from flowcraft.distributed.message import Message, MessageError, poison_body
from flowcraft.distributed.opening import Opener, Refusal
from flowcraft.distributed.reconciliation import awaiting_entry, hint, repair
from flowcraft.distributed.recording import Turned
from flowcraft.distributed.runs import Run
from flowcraft.distributed.services import Services
from flowcraft.distributed.signalling import Routed, Router
from flowcraft.distributed.times import iso, parse_time
from flowcraft.distributed.turn import Turn
from flowcraft.failures import ErrorDetail
from flowcraft.ports import Claim, ClaimRequest, Delivery, Discharge
from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    DeliveryLostError,
    PortError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.records import NodeRecord

MAX_DELAY_S: Final = 7 * 24 * 3600.0 - 60
"""Longest delay of a message in Queue Storage, with a margin; longer alarms are chained."""


@dataclass(slots=True)
class Ledger:
    """What a job has done so far, to be told at its end.

    Attributes:
        passed: Node keys whose turn is over and whose successors are signalled.
        current: The node key whose claim is held now.
        sent: Messages sent that no claim has counted.
        resolved: Node keys resolved.
    """

    passed: list[str]
    current: str = ""
    sent: int = 0
    resolved: int = 0


class Job:
    """Handles one delivery; ``run`` returns when nothing is left to do with it."""

    def __init__(self, services: Services, opener: Opener, delivery: Delivery) -> None:
        self._services = services
        self._opener = opener
        self.delivery = delivery
        self.message: Message | None = None
        self.token = f"{services.random.getrandbits(64):016x}"
        self.lost = False
        self._ledger = Ledger([])
        self._turn: Turn | None = None
        self._receipt = asyncio.Lock()

    # ---- what the worker asks of a job from outside ----

    @property
    def run_id(self) -> str:
        """The run it works on; empty before the message is read."""
        return self.message.run_id if self.message else ""

    def cancel_node(self) -> None:
        """Its run has ended: the node it executes is told, and its result is dropped."""
        if self._turn is not None:
            self._turn.execution.cancel()

    async def renew(self) -> None:
        """Extend the message and the claims; the body then names the node key reached."""
        settings = self._services.settings
        try:
            async with self._receipt:
                if not self.lost:
                    self.delivery = await self._services.queue.update(
                        self.delivery, self._body(), settings.visibility_timeout_s
                    )
        except DeliveryLostError:
            self.lost = True
        if self.message and self._held():
            await self._services.coordination.renew(
                self.message.run_id, self._held(), self.token, 2 * settings.visibility_timeout_s
            )

    async def give_back(self, delay_s: float, *, counts: bool = False) -> None:
        """Let somebody act on the node key reached after a delay.

        ``counts`` leaves the delivery an unexplained one: too many of those make the message poison.
        """
        async with self._receipt:
            if self.lost:
                return
            now = self._services.clock.now()
            if self.message is not None:
                base = self.message.base if counts else self.delivery.delivery_count
                not_before = iso(now + timedelta(seconds=delay_s))
                self.message = replace(self.message, base=base, not_before=not_before)
            try:
                await self._services.queue.update(self.delivery, self._body(), min(delay_s, MAX_DELAY_S))
            except DeliveryLostError:
                self.lost = True
        await self._discharge(parked=True, moved=0)

    def _body(self) -> str:
        return self.message.to_body() if self.message else self.delivery.body

    def _held(self) -> list[str]:
        return [*self._ledger.passed, self._ledger.current] if self._ledger.current else self._ledger.passed

    # ---- the delivery ----

    async def run(self) -> None:
        """Act on the message, and end its delivery one way or another."""
        services = self._services
        try:
            self.message = Message.parse(self.delivery.body)
        except MessageError as error:
            await self._poison(str(error))
            return
        try:
            await self._work(self.message)
        except DeliveryLostError:
            self.lost = True  # whoever has it now goes on from the facts
        except NotReadyError as error:
            services.log.warning("message of no meaning dropped", run_id=self.run_id, reason=str(error))
            await self._finish()
        except StaleReadError as error:
            services.log.info("facts not visible yet", run_id=self.run_id, reason=str(error))
            await self.give_back(self._jittered(2.0), counts=True)
        except BackendUnavailableError as error:
            services.log.warning("backend unavailable", run_id=self.run_id, error=str(error))
            await self._try_give_back(max(error.retry_after_s or 0.0, self._jittered(5.0)))
        except BackendRefusedError as error:
            services.log.warning("backend refuses", run_id=self.run_id, error=str(error))
            await self._try_give_back(30.0)

    async def _try_give_back(self, delay_s: float) -> None:
        try:
            await self.give_back(delay_s)
        except PortError as error:
            self._services.log.warning(
                "message not given back; it shows itself when its time is over", error=str(error)
            )

    async def _work(self, message: Message) -> None:
        deliveries = self.delivery.delivery_count - message.base
        if deliveries > self._services.settings.max_deliveries:
            await self._too_often(message, deliveries)
            return
        run = await self._opener.open(message.run_id, message.blueprint_id)
        if isinstance(run, Refusal):
            await self._refused(run)
            return
        if message.node_key and message.node_key not in run.plan.nodes:
            await self._poison(f"blueprint {run.plan.blueprint.id} has no node {message.node_key}")
            return
        self._turn = Turn(self._services, self._opener.runs, run, self.token, message.session)
        key = message.node_key or run.plan.start[0]
        look = message.check or self.delivery.delivery_count > 1
        if message.is_start and len(run.plan.start) > 1:
            siblings = run.plan.start[1:]
            claimed = await self._claim(key, activity=len(siblings))
            await self._send(run, siblings)
            if not await self._go_on(claimed, len(siblings)):
                return
        await self._walk(run, key, look=look, proven=message.alarm)

    async def _walk(self, run: Run, key: str, *, look: bool, proven: bool) -> None:
        """Take turns in place, from the message's node key on, as long as one successor is ready."""
        assert self._turn is not None  # noqa: S101 - set by the caller
        while True:
            if self._ledger.current != key and not await self._go_on(
                await self._claim(key, activity=int(proven))
            ):
                return
            turned = await self._turn.take(key, look=look, proven=proven)
            if turned is None:
                await self._after_cancel(run)
                return
            next_key = await self._proceed(run, turned, woken=proven)
            if next_key is None:
                return
            key, look, proven = next_key, turned.adopted, False
            allowed = await self._opener.open(run.run_id, run.plan.blueprint.id)
            if isinstance(allowed, Refusal):
                await self._refused(allowed)
                return
            run = allowed

    async def _claim(self, key: str, *, activity: int = 0) -> Claim:
        lease_s = 2 * self._services.settings.visibility_timeout_s
        try:
            answer = await self._services.coordination.claim(
                ClaimRequest(self.run_id, key, self.token, lease_s, activity)
            )
        except BackendUnavailableError:
            answer = Claim.CLAIMED  # without claims work may be done twice; the record counts once
        if answer is Claim.CLAIMED:
            self._ledger.current = key
        return answer

    async def _go_on(self, claim: Claim, sent: int = 0) -> bool:
        """Whether the node key is ours; ``sent`` messages were counted only if it is."""
        if claim is Claim.CLAIMED:
            return True
        self._ledger.sent += sent
        if claim is Claim.DONE:
            await self._finish()
        else:
            await self.give_back(self._jittered(self._services.settings.visibility_timeout_s / 4))
        return False

    # ---- after a turn ----

    async def _proceed(self, run: Run, turned: Turned, *, woken: bool) -> str | None:
        """Signal what follows from a record; the node key to go on with, None when the delivery is over."""
        assert self._turn is not None  # noqa: S101 - there is no turn without it
        record = turned.record
        if not record.resolved:
            await self._park(run, record)
            return None
        if woken:
            await self._update_header(
                run, lambda header: headers.woken(header, record.key, self._services.clock.now())
            )
        self._ledger.resolved += 1
        if record.status == "failed" or turned.wave is None:
            await self._fail_run(run, record)
            await self._finish(ended=True)
            return None
        router = Router(self._services, run, self.token, self._turn.session)
        routed = await router.route(turned.wave)
        self._turn.seen(router.session)
        self._ledger.resolved += routed.skipped
        if routed.ended and not routed.ready:
            await self._complete_run(run)
            await self._finish(ended=True)
            return None
        return await self._signal(run, record, routed)

    async def _signal(self, run: Run, record: NodeRecord, routed: Routed) -> str | None:
        assert self._turn is not None  # noqa: S101 - there is no record without it
        if not routed.ready:
            await self._finish(run=run)
            return None
        next_key, *siblings = routed.ready
        self._ledger.passed.append(record.key)
        self._ledger.current = ""
        # Claimed before the siblings are sent, so that they are counted before any of them can end.
        claim = await self._claim(next_key, activity=len(siblings))
        await self._send(run, siblings)
        if self.message is not None:
            self.message = self.message.at(next_key, self._turn.session)
        return next_key if await self._go_on(claim, len(siblings)) else None

    async def _send(self, run: Run, keys: Sequence[str]) -> None:
        session = self._turn.session if self._turn else ""
        bodies = [Message(run.run_id, run.plan.blueprint.id, key, session).to_body() for key in keys]
        width = self._services.settings.parallel_sends
        for start in range(0, len(bodies), width):
            await asyncio.gather(*(self._services.queue.send(body) for body in bodies[start : start + width]))

    async def _park(self, run: Run, record: NodeRecord) -> None:
        """The node waits for a time (the message becomes its alarm) or for a decision (the message ends)."""
        wake_at = parse_time(record.wake_at)
        entry = awaiting_entry(record)
        if record.kind == "wait" or wake_at is None:
            active = await self._finish(parked=True, quiet_check=False)
        else:
            now = self._services.clock.now()
            assert self.message is not None  # noqa: S101 - a parked node had a message
            self.message = replace(
                self.message.at(record.key, self._turn.session if self._turn else ""), alarm=True
            )
            delay_s = max((wake_at - now).total_seconds(), 0.0)
            active = await self._alarm(delay_s)
        if active is not None and active < 0:
            await repair(self._services, run.run_id, self._opener.plans)
            self._opener.runs.changed(run.run_id)
        else:
            await self._update_header(
                run, lambda header: headers.with_awaiting(header, entry, self._services.clock.now())
            )

    async def _alarm(self, delay_s: float) -> int | None:
        async with self._receipt:
            assert self.message is not None  # noqa: S101 - set by the caller
            not_before = iso(self._services.clock.now() + timedelta(seconds=delay_s))
            self.message = replace(self.message, base=self.delivery.delivery_count, not_before=not_before)
            await self._services.queue.update(self.delivery, self._body(), min(delay_s, MAX_DELAY_S))
        return await self._discharge(parked=True, moved=-1)

    async def _update_header(self, run: Run, change: headers.Change) -> None:
        """Change the header for people and for the operator; whoever changed it meanwhile is asked again."""
        while True:
            document = change(run.stored.document)
            if document is None:
                return
            try:
                run.stored = await self._services.facts.replace_header(run.stored, document)
            except PreconditionFailedError:
                newest = await self._services.facts.read_header(run.run_id)
                if newest is None:
                    return
                run.stored = newest
                continue
            await hint(self._services, run.run_id)
            return

    async def _complete_run(self, run: Run) -> None:
        session = self._turn.session if self._turn else ""
        run.stored = await publish_completed(self._services, run.stored, run.plan, run.records, session)

    async def _fail_run(self, run: Run, record: NodeRecord) -> None:
        total = len(run.plan.nodes)
        sources = [key for key in run.plan.nodes if key != record.key]
        resolved = await self._services.facts.resolved(
            run.run_id, sources, self._turn.session if self._turn else ""
        )
        entry = failure(record)
        run.stored = await publish_failed(
            self._services,
            run.stored,
            reason="NodeFailed",
            message=f"node {record.key} failed: {entry['message']}",
            errors=[entry],
            progress=(len(resolved) + 1, total),
        )

    async def _after_cancel(self, run: Run) -> None:
        allowed = await self._opener.open(run.run_id, run.plan.blueprint.id)
        if isinstance(allowed, Refusal):
            await self._refused(allowed)
        else:
            await self.give_back(0.0)

    # ---- the end of a delivery ----

    async def _finish(
        self, *, ended: bool = False, parked: bool = False, run: Run | None = None, quiet_check: bool = True
    ) -> int | None:
        """Delete the message; its claims become ``done`` marks only now, set by who signalled."""
        async with self._receipt:
            if not self.lost:
                await self._services.queue.delete(self.delivery)
        active = await self._discharge(parked=parked, moved=-1, hint_text=self.run_id if ended else "")
        if ended:
            self._opener.runs.drop(self.run_id)
        elif quiet_check and active is not None and active < 0 and run is not None:
            await repair(self._services, run.run_id, self._opener.plans)
        return active

    async def _discharge(self, *, parked: bool, moved: int, hint_text: str = "") -> int | None:
        ledger = self._ledger
        done = list(ledger.passed)
        released: list[str] = []
        if ledger.current:
            (released if parked else done).append(ledger.current)
        if not (done or released or hint_text):
            return None
        discharge = Discharge(
            run_id=self.run_id,
            token=self.token,
            done=done,
            released=released,
            activity=moved + ledger.sent,
            progress=ledger.resolved,
            channel=self._services.channel if hint_text else "",
            hint=hint_text,
        )
        self._ledger = Ledger([])
        try:
            return await self._services.coordination.discharge(discharge)
        except BackendUnavailableError:
            return None

    async def _refused(self, refusal: Refusal) -> None:
        settings = self._services.settings
        if refusal is Refusal.ENDED:
            await self._finish()
            await hint(self._services, self.run_id)
        elif refusal is Refusal.PAUSED:
            await self.give_back(settings.pause_delay_s)
        else:
            await self.give_back(self._jittered(settings.unknown_delay_s))

    async def _too_often(self, message: Message, deliveries: int) -> None:
        """A message that keeps killing its workers: its node key fails, and the run shows it."""
        reason = f"delivered {deliveries - 1} times without an end: its worker died or lost it each time"
        try:
            run = await self._opener.open(message.run_id, message.blueprint_id)
        except StaleReadError:
            await self._poison(f"run {message.run_id} has no header")
            return
        if isinstance(run, Refusal):
            await self._refused(run)
            return
        key = message.node_key or run.plan.start[0]
        if key not in run.plan.nodes:
            await self._poison(f"blueprint {run.plan.blueprint.id} has no node {key}")
            return
        if not await self._go_on(await self._claim(key)):
            return  # a slow worker is executing it after all
        self._turn = Turn(self._services, self._opener.runs, run, self.token, message.session)
        turned = await self._turn.fail(key, ErrorDetail("PoisonMessage", reason))
        await self._services.queue.send_poison(poison_body(self.delivery.body, reason, deliveries))
        if await self._proceed(run, turned, woken=False) is not None:
            await self.give_back(0.0)  # it had completed after all: go on from its record

    async def _poison(self, reason: str) -> None:
        self._services.log.warning("message moved to the poison queue", reason=reason, run_id=self.run_id)
        body = poison_body(self.delivery.body, reason, self.delivery.delivery_count)
        await self._services.queue.send_poison(body)
        async with self._receipt:
            await self._services.queue.delete(self.delivery)

    def _jittered(self, seconds: float) -> float:
        return seconds * (0.75 + self._services.random.random() / 2)

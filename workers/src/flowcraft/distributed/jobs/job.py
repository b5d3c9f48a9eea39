"""A job: acts on one delivered message, from node key to node key, until its delivery ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from flowcraft.distributed.jobs.custody import Custody
from flowcraft.distributed.jobs.gathering import NoCodeError, NotReadyError
from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.jobs.narration import Narrator
from flowcraft.distributed.jobs.opening import Opener, Refusal
from flowcraft.distributed.jobs.quarantine import SUSPECT_FROM
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.distributed.jobs.signalling import Routed, Router
from flowcraft.distributed.jobs.turn import Turn
from flowcraft.distributed.message import Message, MessageError, poison_body
from flowcraft.distributed.queue_ports import hint
from flowcraft.distributed.repair import awaiting_entry, repair
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.ending import publish_completed, publish_failed
from flowcraft.distributed.runs.families import conclude
from flowcraft.distributed.runs.progress import counted, grows
from flowcraft.distributed.services import Services
from flowcraft.failures import ErrorDetail
from flowcraft.node_failures import failure, why_failed
from flowcraft.ports import Claim, Delivery
from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.records import NodeRecord
from flowcraft.times import parse_time

HELD_FIRST_S = 0.25
"""How soon a message looks again whose claim is held elsewhere; twice as late each time."""
REFUSED_DELAY_S = 30.0
GONE_AFTER = timedelta(hours=1)
"""A message so old, whose run nobody can see, outlived it: an alarm, or one that waited for a resume."""
MOST_SETTLINGS = 5
SOON = timedelta(minutes=1)
"""What waits longer is listed before it goes on."""


class Job:
    """Handles one delivery; ``run`` returns when nothing is left to do with it."""

    def __init__(
        self, services: Services, opener: Opener, delivery: Delivery, sent: Callable[[], None]
    ) -> None:
        """Args: the ports; what opens runs; the delivery; what to call when messages were sent."""
        self._services = services
        self._sent = sent
        self._narrator = Narrator(services)
        self._opener = opener
        self._custody = Custody(services, delivery)
        self._turn: Turn | None = None
        self.trouble: tuple[str, str] | None = None
        """Why the message could not be acted on this time: the kind of error, and its text."""

    @property
    def message(self) -> Message | None:
        """What was delivered, at the node key reached; None where it cannot be read."""
        return self._custody.message

    @property
    def delivery(self) -> Delivery:
        """The delivery it ends."""
        return self._custody.delivery

    @property
    def run_id(self) -> str:
        """The run it works on; empty before the message is read."""
        return self._custody.run_id

    @property
    def executes(self) -> bool:
        """Whether it executes a node's code right now."""
        return self._turn is not None and self._turn.execution.runs

    def cancel_node(self) -> None:
        """Its run has ended: the node it executes is told, and its result is dropped."""
        if self._turn is not None:
            self._turn.execution.cancel()

    async def renew(self) -> None:
        """Extend the message and the claims; the body then names the node key reached."""
        await self._custody.renew()

    async def give_back(self, delay_s: float, *, counts: bool = False) -> None:
        """Let somebody act on the node key reached after a delay; see ``Custody.give_back``."""
        await self._custody.give_back(delay_s, counts=counts)

    @property
    def suspected(self) -> bool:
        """So many deliveries had no end that this message may be what ended its workers."""
        if self._custody.delivery.delivery_count < SUSPECT_FROM:
            return False
        with suppress(MessageError):
            self._custody.message = Message.parse(self._custody.delivery.body)
        return self._custody.unexplained >= SUSPECT_FROM

    async def run(self) -> None:
        """Act on the message, and end its delivery one way or another.

        Raises:
            PortError: the backend fails even when the message is to be given back.
        """
        try:
            message = self._custody.message = Message.parse(self._custody.delivery.body)
        except MessageError as error:
            self.trouble = ("MessageError", str(error))
            await self._custody.poison(str(error))
            return
        log = self._services.log
        try:
            await self._work(message)
        except NotReadyError as error:
            self.trouble = ("NotReadyError", str(error))
            log.warning("message of no meaning dropped", run_id=self.run_id, reason=str(error))
            await self._finish()
        except NoCodeError as error:
            log.warning("left to another worker", run_id=self.run_id, reason=str(error))
            await self.give_back(self._jittered(self._services.settings.unknown_delay_s))
        except StaleReadError as error:
            log.info("facts not visible yet", run_id=self.run_id, reason=str(error))
            seconds = 2.0 * 2 ** min(self._custody.unexplained - 1, 6)  # all tries together take minutes
            await self.give_back(self._jittered(seconds), counts=True)
        except BackendUnavailableError as error:
            self.trouble = ("BackendUnavailableError", str(error))
            log.warning("backend unavailable", run_id=self.run_id, error=str(error))
            await self.give_back(max(error.retry_after_s or 0.0, self._jittered(5.0)))
        except BackendRefusedError as error:
            self.trouble = ("BackendRefusedError", str(error))
            log.warning("backend refuses", run_id=self.run_id, error=str(error))
            await self.give_back(REFUSED_DELAY_S)

    async def _work(self, message: Message) -> None:
        if self._custody.unexplained > self._services.settings.max_deliveries:
            await self._too_often(message)
            return
        if message.alarm:  # the header lists what waits: what is remembered may be from before it was listed
            self._opener.runs.changed(message.run_id)
        run = await self._open(message)
        if run is None:
            return
        if message.is_start:
            self._narrator.started(run)
        if message.is_start and "continues" in run.stored.document:
            await repair(self._services, run.run_id, self._opener.plans)
            self._opener.runs.changed(run.run_id)
            await self._finish()
            return
        self._turn = turn = self._new_turn(run, message)
        start = run.plan.start_keys()
        key = run.plan.placed(message.node_key) or start[0]
        look = message.check or bool(message.not_before) or self._custody.delivery.delivery_count > 1
        if message.is_start and len(start) > 1:
            siblings = start[1:]
            claim = await self._custody.claim(key, activity=len(siblings))
            if claim is Claim.HELD:
                siblings = ()  # its holder sends them, or this message does when it comes again
            await self._send(run, siblings, again=look)
            if not await self._holds(claim, len(siblings)):
                return
        else:
            activity = int(message.alarm)
            claim = await self._custody.claim(
                key, activity=activity, woken=message.woken, alarm=message.alarm
            )
            if not await self._holds(claim):
                return
        await self._walk(run, turn, key, look=look, proven=message.alarm or message.woken)

    async def _open(self, message: Message) -> Run | None:
        """The run, if the message may be worked on now; otherwise its delivery has ended."""
        run = await self._opener.open(message.run_id, message.blueprint_id)
        if isinstance(run, Refusal):
            await self._refused(run)
            return None
        if message.node_key and not run.plan.knows(run.plan.placed(message.node_key)):
            await self._custody.poison(f"blueprint {run.plan.blueprint.id} has no node {message.node_key}")
            return None
        return run

    def _new_turn(self, run: Run, message: Message) -> Turn:
        return Turn(
            self._services, self._opener.runs, self._opener.plans, run, self._custody.token, message.session
        )

    async def _walk(self, run: Run, turn: Turn, key: str, *, look: bool, proven: bool) -> None:
        """Take turns in place, from a claimed node key on, as long as one successor is ready."""
        while True:
            run.busy.add(key)
            try:
                turned = await turn.take(key, look=look, proven=proven, woken=self._custody.woken)
                next_key = await self._proceed(run, turn, turned, woken=proven) if turned else key
            finally:
                run.busy.discard(key)
            if next_key is None:
                return
            allowed = await self._opener.open(run.run_id, run.plan.blueprint.id)
            if isinstance(allowed, Refusal):
                await self._refused(allowed)
                return
            if turned is None:
                await self.give_back(0.0)  # cancelled, and yet the run goes on: somebody starts it again
                return
            key, look, proven = next_key, turned.adopted, self._custody.woken

    async def _holds(self, claim: Claim, sent: int = 0) -> bool:
        """Whether the node key is ours; ``sent`` messages were counted only if it is."""
        if claim is Claim.CLAIMED:
            return True
        self._custody.ledger.sent += sent
        if claim is Claim.DONE:
            await self._finish()
        else:
            # Mostly whoever parked the node key is about to release it; else its node runs, maybe for long.
            longest_s = self._services.settings.visibility_timeout_s / 6
            doubled_s = HELD_FIRST_S * 2.0 ** min(self._custody.delivery.delivery_count - 1, 10)
            await self.give_back(self._jittered(min(longest_s, doubled_s)))
        return False

    # ---- after a turn ----

    async def _proceed(self, run: Run, turn: Turn, turned: Turned, *, woken: bool) -> str | None:
        """Signal what follows from a record; the node key to go on with, None when the delivery is over."""
        record = turned.record
        if not record.resolved and turned.wave is None:
            await self._park(run, turn, turned)
            return None
        if woken:
            await self._unlist(run, record.key)
        if record.resolved:
            if woken:
                self._narrator.woken(run, record)
            self._custody.ledger.resolved += 1
        elif not turned.adopted:
            await self._grow(run, record)
        if turned.wave is None:
            await self._fail_run(run, turn, record)
            self._narrator.ended(run)
            await self._finish(ended=True)
            return None
        router = Router(self._services, run, record.key, self._custody.token, turn.session)
        routed = await router.route(turned.wave)
        turn.seen(router.session)
        self._custody.ledger.resolved += routed.skipped
        if routed.ended:  # every node key is resolved: joins that say "ready" again were answered before
            run.stored = await publish_completed(
                self._services, run.stored, run.plan, run.records, turn.session
            )
            self._narrator.ended(run)
            await self._finish(ended=True)
            return None
        if run.plan.loops and not turned.adopted:
            await self._grow_by_rounds(run, routed.ready)
        return await self._signal(run, turn, turned, routed)

    async def _grow_by_rounds(self, run: Run, ready: Sequence[str]) -> None:
        """Show, now and then, that the run has more node keys: those of further rounds."""
        turning = [loop for key in ready if (loop := run.plan.turning(key)) is not None]
        if turning:
            count, now = sum(loop.size for loop in turning), self._services.clock.monotonic()
            change = run.growth.add(count, now, at_once=False)
            if change is not None:
                await self._update_header(run, change)

    async def _grow(self, run: Run, owner: NodeRecord) -> None:
        """Show that the run has more node keys: children."""
        family = run.owners.family(owner.key)
        change = run.growth.add(family.count if family else 0, self._services.clock.monotonic())
        if change is not None:
            await self._update_header(run, change)

    async def _signal(self, run: Run, turn: Turn, turned: Turned, routed: Routed) -> str | None:
        if not routed.ready:
            active = await self._finish()
            if active is not None and active < 0:
                await self._settle(run)
            return None
        next_key, *siblings = routed.ready
        # Claimed before the siblings are sent, so that they are counted before any of them can end.
        woken = next_key in routed.woken
        claim = await self._custody.claim(next_key, activity=len(siblings), woken=woken)
        await self._send(run, siblings, again=turned.adopted, woken=routed.woken)
        self._custody.move_on(turned.record.key, next_key, turn.session, woken=woken)
        return next_key if await self._holds(claim, len(siblings)) else None

    async def _send(self, run: Run, keys: Sequence[str], *, again: bool, woken: Sequence[str] = ()) -> None:
        """Signal node keys; ``again`` if they may have been signalled before, and have a record by now.

        Those ``woken`` have awaited their children.
        """
        session = self._turn.session if self._turn else ""
        blueprint_id = run.plan.blueprint.id
        trace = self._narrator.trace()
        bodies = [
            Message(
                run.run_id, blueprint_id, key, session, check=again, woken=key in woken, trace=trace
            ).to_body()
            for key in keys
        ]
        width = self._services.settings.parallel_sends
        for start in range(0, len(bodies), width):
            await asyncio.gather(*(self._services.queue.send(body) for body in bodies[start : start + width]))
            self._sent()
        self._narrator.enqueued(run, keys)

    async def _park(self, run: Run, turn: Turn, turned: Turned) -> None:
        """The node waits: for a time (the message becomes its alarm), or for a signal (the message ends)."""
        record, now = turned.record, self._services.clock.now()
        wake_at = now if turned.due else parse_time(record.wake_at)
        if wake_at is None:
            await self._custody.delete(waits=record.key)
            active = await self._custody.park(record.key)
        else:
            delay_s = max((wake_at - now).total_seconds(), 0.0)
            active = await self._custody.become_alarm(record.key, turn.session, delay_s)
        if active is not None and active < 0:
            await self._settle(run)
        else:
            await self._list(run, turn, record, now)

    async def _list(self, run: Run, turn: Turn, record: NodeRecord, now: datetime) -> None:
        """Let the header list what waits, unless it has gone on meanwhile."""
        entry, key = awaiting_entry(record), record.key
        await self._update_header(run, lambda header: headers.with_awaiting(header, entry, now))
        wake_at = parse_time(record.wake_at)
        if wake_at is not None and wake_at > self._services.clock.now() + SOON:
            return
        loaded = await self._services.facts.load(run.run_id, nodes=[key], session=turn.session)
        found = loaded.records.get(key)
        if found is not None and found.record.resolved:
            await self._update_header(run, lambda header: headers.unlisted(header, key, now))

    async def _unlist(self, run: Run, key: str) -> None:
        """A node key goes on; the header that is remembered may be from before it was listed."""
        now = self._services.clock.now()
        if self._custody.alarm and headers.woken(run.stored.document, key, now) is None:
            run.stored = await self._services.facts.read_header(run.run_id) or run.stored
        await self._update_header(run, lambda header: headers.woken(header, key, now))

    async def _update_header(self, run: Run, change: headers.Change) -> None:
        """Change the header for people and for the operator; what changed it meanwhile is kept."""
        while (document := change(run.stored.document)) is not None:
            try:
                run.stored = await self._services.facts.replace_header(run.stored, document)
            except PreconditionFailedError:
                newest = await self._services.facts.read_header(run.run_id)
                if newest is None:
                    return
                run.stored = newest
            else:
                await hint(self._services, run.run_id)
                return

    async def _settle(self, run: Run) -> None:
        """Nothing seems to move any more: let the header say what the facts say, and signal nothing."""
        if headers.is_terminal(run.stored.document):
            return  # a sibling's job ended it; its discharge was counted before this one
        for _ in range(MOST_SETTLINGS):  # of several that settle at once, the last one must be heard
            done = await repair(self._services, run.run_id, self._opener.plans, may_signal=False)
            if not done.outrun:
                break
        self._opener.runs.changed(run.run_id)
        await self._narrator.settled(run)

    async def _fail_run(self, run: Run, turn: Turn, record: NodeRecord) -> None:
        progress = await self._progress(run, turn, record)
        run.stored = await publish_failed(
            self._services,
            run.stored,
            reason="NodeFailed",
            message=why_failed(record),
            errors=[failure(record)],
            progress=progress,
        )

    async def _progress(self, run: Run, turn: Turn, failed: NodeRecord) -> tuple[int, int]:
        """How many node keys are resolved at a failure, and how many there are."""
        facts = self._services.facts
        if grows(run.plan, run.stored.document):
            return await counted(self._services, run.stored.document, run.plan, turn.session, failed)
        sources = [key for key in run.plan.nodes if key != failed.key]
        resolved = await facts.resolved(run.run_id, sources, turn.session)
        return len(resolved) + 1, len(run.plan.nodes)

    # ---- the end of a delivery ----

    async def _finish(self, *, ended: bool = False) -> int | None:
        """Delete the message; its claims become ``done`` marks only now, set by who signalled."""
        await self._custody.delete()
        run_id = self.run_id
        active = await self._custody.discharge(parked=False, moved=-1, hint=run_id if ended else "")
        if ended:
            self._opener.runs.drop(run_id)
        return active

    async def _refused(self, refusal: Refusal) -> None:
        settings = self._services.settings
        if refusal is Refusal.ENDED:
            await self._conclude_again()
            await self._finish(ended=True)
        elif refusal is Refusal.PAUSED:
            await self.give_back(settings.pause_delay_s)
            await self._show_if_resumed()
        else:
            await self.give_back(self._jittered(settings.unknown_delay_s))

    async def _unseen(self, message: Message, error: StaleReadError) -> None:
        """A message of a run that does not show itself: it was deleted, if the message is old."""
        services = self._services
        age = services.clock.now() - self._custody.delivery.inserted_at
        if age > GONE_AFTER and await services.facts.read_header(message.run_id) is None:
            services.log.info("message of a run that was deleted dropped", run_id=message.run_id)
            await self._custody.delete()
        else:
            await self._custody.poison(str(error))

    async def _show_if_resumed(self) -> None:
        """A run that was resumed meanwhile was looked at while this delivery still held its claim."""
        stored = await self._services.facts.read_header(self.run_id)
        if stored is not None and stored.document.get("status") in ("running", "awaiting"):
            await self.give_back(0.0)

    async def _conclude_again(self) -> None:
        """Whoever ended the run may have died before its parent and its children were told."""
        header = self._opener.runs.ended(self.run_id)
        if header is not None:
            await conclude(self._services, header)

    async def _too_often(self, message: Message) -> None:
        """A message that keeps killing its workers: its node key fails, and the run shows it."""
        deliveries = self._custody.unexplained
        reason = f"delivered {deliveries - 1} times without an end: its worker died or lost it each time"
        try:
            run = await self._open(message)
        except StaleReadError as error:
            await self._unseen(message, error)
            return
        if run is None:
            return
        key = run.plan.placed(message.node_key) or run.plan.start_keys()[0]
        claim = await self._custody.claim(key, woken=message.woken, alarm=message.alarm)
        if not await self._holds(claim):
            return  # a slow worker is executing it after all
        self._turn = turn = self._new_turn(run, message)
        try:
            turned = await turn.give_up(key, ErrorDetail("PoisonMessage", reason), woken=message.woken)
        except StaleReadError as error:  # nothing says that the node is to run: the message is to blame
            await self._custody.poison(f"{reason}; {error}")
            await self._custody.discharge(parked=True, moved=-1)
            return
        body = poison_body(self._custody.delivery.body, reason, deliveries)
        await self._services.queue.send_poison(body)
        if await self._proceed(run, turn, turned, woken=False) is not None:
            await self.give_back(0.0)  # it had completed after all: go on from its record

    def _jittered(self, seconds: float) -> float:
        return seconds * (0.75 + self._services.random.random() / 2)

"""Bugs in what a worker does with messages and claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.simulation.planted.patches import Patches, Where, bug
from tests.simulation.planted.wanted import CRASHES, kills, long_retries, sleeps

from flowcraft.distributed.jobs.custody import Custody, Ledger
from flowcraft.distributed.jobs.gathering import Gatherer
from flowcraft.distributed.jobs.job import Job
from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.jobs.opening import Refusal
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.distributed.jobs.turn import Turn
from flowcraft.distributed.message import Message
from flowcraft.ports import Claim


@bug(
    "done is no reason",
    instead="a delivery that finds the mark `done` acts on its node key all the same",
    rule="a delivery that finds `done` is deleted",
    marked=True,
    where=Where("single", ("message twice",)),
)
def _done_is_no_reason(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def claim(self: Custody, key: str, **named: Any) -> Claim:
            answer: Claim = await original(self, key, **named)
            return Claim.CLAIMED if answer is Claim.DONE else answer

        return claim

    patches.wrap(Custody, "claim", around)


@bug(
    "load, then claim",
    instead="facts are loaded before the node key is claimed, up to three seconds",
    rule="claim first, then load under the claim",
    marked=True,
    where=Where("single", ("message twice", "visibility runs out"), "two long retries", long_retries),
)
def _load_then_claim(patches: Patches) -> None:
    turns: dict[int, Turn] = {}
    early: dict[tuple[int, str], Any] = {}

    def around_new_turn(original: Any) -> Any:
        def new_turn(self: Job, run: Run, message: Message) -> Turn:
            turn: Turn = original(self, run, message)
            turns[id(self._custody)] = turn
            return turn

        return new_turn

    def around_claim(original: Any) -> Any:
        async def claim(self: Custody, key: str, **named: Any) -> Claim:
            turn, message = turns.get(id(self)), self.message
            if turn is not None and message is not None and not self.ledger.claims:
                look = message.check or message.alarm or self.delivery.delivery_count > 1
                loaded = await turn._gatherer.load(key, look=look, proven=message.alarm)
                early[id(turn._gatherer), key] = loaded
                await self._services.clock.sleep(3.0 * self._services.random.random())
            answer: Claim = await original(self, key, **named)
            return answer

        return claim

    def around_load(original: Any) -> Any:
        async def load(self: Gatherer, key: str, *, look: bool, proven: bool) -> Any:
            found = early.pop((id(self), key), None)
            return found if found is not None else await original(self, key, look=look, proven=proven)

        return load

    patches.wrap(Job, "_new_turn", around_new_turn)
    patches.wrap(Custody, "claim", around_claim)
    patches.wrap(Gatherer, "load", around_load)


@bug(
    "give-backs are attempts",
    instead="a message that is given back, or is an alarm, counts as one more failed delivery",
    rule="give-backs, alarms and version mismatches rewrite the counting base and are no attempts",
    marked=True,
)
def _give_backs_are_attempts(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def rewrite(self: Custody, delay_s: float, _base: int) -> None:
            await original(self, delay_s, self.message.base if self.message else 0)

        return rewrite

    patches.wrap(Custody, "_rewrite", around)


@bug(
    "crashes are forgotten",
    instead="a give-back explains all deliveries before it, those that ended with a crash too",
    rule="only give-backs, alarms and version mismatches are no attempts",
    where=Where("storm", told="a node that kills its worker", story=kills),
)
def _crashes_are_forgotten(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def rewrite(self: Custody, delay_s: float, _base: int) -> None:
            await original(self, delay_s, self.delivery.delivery_count)

        return rewrite

    patches.wrap(Custody, "_rewrite", around)


@bug(
    "no poison",
    instead="a message may be delivered without end, however many workers it kills",
    rule="one delivered too often: its node key fails, and the run shows it",
    where=Where("calm", told="a node that kills its worker", story=kills),
)
def _no_poison(patches: Patches) -> None:
    patches.put(Custody, "unexplained", property(lambda _self: 1))


@bug(
    "poison without claim",
    instead="a message delivered too often (here: twice) fails its node key though somebody executes it",
    rule="the poison handler needs the claim",
    marked=True,
    where=Where("single", ("visibility runs out",)),
)
def _poison_without_claim(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def too_often(self: Job, message: Message) -> None:
            async def claim(*_: Any, **__: Any) -> Claim:
                return Claim.CLAIMED

            self._custody.claim = claim  # type: ignore[method-assign]
            await original(self, message)

        return too_often

    patches.wrap(Job, "_too_often", around)
    # Five crashes while somebody else works on the node are rare: here one redelivery is enough.
    patches.wrap(Custody, "unexplained", lambda original: property(lambda self: 5 * original.fget(self) - 4))


@bug(
    "paused is dropped",
    instead="a message of a paused run is deleted",
    rule="paused run: give the message back with a long delay",
    marked=True,
)
def _paused_is_dropped(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def refused(self: Job, refusal: Refusal) -> None:
            await (self._finish() if refusal is Refusal.PAUSED else original(self, refusal))

        return refused

    patches.wrap(Job, "_refused", around)


@bug(
    "unknown is dropped",
    instead="a message whose blueprint this worker does not know is deleted",
    rule="blueprint or version unknown here: give back",
)
def _unknown_is_dropped(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def refused(self: Job, refusal: Refusal) -> None:
            await (self._finish() if refusal is Refusal.UNKNOWN else original(self, refusal))

        return refused

    patches.wrap(Job, "_refused", around)


@bug(
    "message stays behind",
    instead="the message goes on naming the node key that it was sent for, whatever key was reached",
    rule="every Update Message (renewal, give-back, alarm) writes the node key reached",
    marked=True,
)
def _message_stays_behind(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def move_on(self: Custody, *args: Any, **named: Any) -> None:
            sent_for = self.message.node_key if self.message else ""
            original(self, *args, **named)
            if self.message is not None:
                self.message = replace(self.message, node_key=sent_for)

        return move_on

    patches.wrap(Custody, "move_on", around)


@bug(
    "message runs ahead",
    instead="the message is rewritten to the next node key before the siblings are sent",
    rule="the key moves on only after the record is committed, the arrivals made, the siblings sent",
    marked=True,
    where=Where("single", CRASHES),
)
def _message_runs_ahead(patches: Patches) -> None:
    ahead: dict[int, tuple[str, str]] = {}

    def around_claim(original: Any) -> Any:
        async def claim(self: Custody, key: str, **named: Any) -> Claim:
            before = list(self.ledger.held)
            answer: Claim = await original(self, key, **named)
            if before and answer is Claim.CLAIMED:
                self.move_on(before[-1], key, self.message.session if self.message else "")
                ahead[id(self)] = (before[-1], key)
                await self.renew()
            return answer

        return claim

    def around_move_on(original: Any) -> Any:
        def move_on(self: Custody, passed: str | None, key: str, session: str, **named: Any) -> None:
            if ahead.pop(id(self), None) != (passed, key):
                original(self, passed, key, session, **named)

        return move_on

    patches.wrap(Custody, "claim", around_claim)
    patches.wrap(Custody, "move_on", around_move_on)


@bug(
    "done before delete",
    instead="claims become `done` before the message is rewritten as an alarm, or deleted",
    rule="claims become `done` only after the message was rewritten or deleted",
    marked=True,
    where=Where("single", CRASHES, "a node that sleeps", sleeps),
)
def _done_before_delete(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def end(self: Custody, *args: Any, **named: Any) -> Any:
            await self._tell(Ledger(passed=self.ledger.claims), parked=True, moved=0)
            return await original(self, *args, **named)

        return end

    patches.wrap(Custody, "delete", around)
    patches.wrap(Custody, "become_alarm", around)


@bug(
    "done while the message names it",
    instead="the claim of a node key that was passed becomes `done` before the message was rewritten",
    rule="claims of nodes passed are kept until the message was rewritten or deleted",
    marked=True,
    where=Where("single", CRASHES),
)
def _done_too_early(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def signal(self: Job, run: Run, turn: Turn, turned: Turned, *args: Any, **named: Any) -> Any:
            following = await original(self, run, turn, turned, *args, **named)
            if following is not None:
                await self._custody._tell(Ledger(passed=[turned.record.key]), parked=True, moved=0)
            return following

        return signal

    patches.wrap(Job, "_signal", around)


@bug(
    "who waits is done",
    instead="the claim of an alarm becomes `done` when its node waits again",
    rule="`done` is set only by who signalled",
    marked=True,
)
def _who_waits_is_done(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def tell(self: Custody, ledger: Ledger, *, parked: bool, moved: int, **named: Any) -> Any:
            parked = parked and moved >= 0
            return await original(self, ledger, parked=parked, moved=moved, **named)

        return tell

    patches.wrap(Custody, "_tell", around)


@bug(
    "one token a worker",
    instead="all deliveries of a worker claim with one token",
    rule="a claim's token is one per delivery, not per worker",
    marked=True,
    where=Where("single", ("visibility runs out",)),
)
def _one_token_a_worker(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def init(self: Custody, services: Any, delivery: Any) -> None:
            original(self, services, delivery)
            self.token = services.worker_id

        return init

    patches.wrap(Custody, "__init__", around)


@bug(
    "no renewal",
    instead="neither the message nor the claim is renewed while a node runs",
    rule="renew visibility and claim well before they run out",
)
def _no_renewal(patches: Patches) -> None:
    async def renew(_self: Job) -> None:
        return None

    patches.put(Job, "renew", renew)


@bug(
    "only the message is renewed",
    instead="the message is renewed and its claims are not",
    rule="the claim is renewed with the message's visibility",
)
def _claims_lapse(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def renew(self: Custody) -> None:
            claims, self.ledger.held, passed = self.ledger.held, [], self.ledger.passed
            self.ledger.passed = []
            await original(self)
            self.ledger.held, self.ledger.passed = claims, passed

        return renew

    patches.wrap(Custody, "renew", around)


@bug(
    "delete before commit",
    instead="the message is deleted when the node's work begins",
    rule="a message is deleted when its node's result is committed and its successors are signalled",
)
def _delete_before_commit(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def walk(self: Job, *args: Any, **named: Any) -> None:
            await self._services.queue.delete(self._custody.delivery)
            await original(self, *args, **named)

        return walk

    patches.wrap(Job, "_walk", around)

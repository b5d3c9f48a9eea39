"""Custody of a delivery: what its rewrites say, what counts as an attempt, and what becomes of its claims."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from tests.contract.manual_clock import ManualClock
from tests.simulation.link import PerfectLink
from tests.simulation.ports.coordination import CoordinationServer, SimulatedCoordination
from tests.simulation.ports.facts import FactServer, SimulatedFacts
from tests.simulation.ports.queue import QueueServer, SimulatedQueue

from flowcraft import App
from flowcraft.distributed.jobs.custody import Custody
from flowcraft.distributed.message import Message
from flowcraft.distributed.services import Services
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.ports import Claim, ClaimRequest


@dataclass
class Desk:
    """One queue with one message, and a worker that takes it."""

    services: Services
    clock: ManualClock

    async def take(self, timeout_s: float = 30.0) -> Custody:
        (delivery,) = await self.services.queue.receive(1, timeout_s)
        custody = Custody(self.services, delivery)
        custody.message = Message.parse(delivery.body)
        return custody

    async def lose(self) -> None:
        """A worker takes the message and dies."""
        await self.take()
        await self.clock.tick(31.0)

    async def claim(self, key: str) -> Claim:
        """What another delivery is told when it claims a node key."""
        return await self.services.coordination.claim(ClaimRequest("r", key, "another", 1.0))


@pytest.fixture
async def desk() -> Desk:
    clock, rng = ManualClock(), random.Random(7)  # noqa: S311
    link = PerfectLink(clock)
    services = Services(
        "orders",
        SimulatedQueue(QueueServer(clock, rng), link),
        SimulatedFacts(FactServer(clock, rng), link),
        SimulatedCoordination(CoordinationServer(clock, rng), link, "runs:orders"),
        clock,
        rng,
        ExpressionEvaluator(),
        App("desk").options,
        "w1",
    )
    await services.queue.send(Message("r", "order", "a").to_body())
    return Desk(services, clock)


async def test_deliveries_that_ended_in_nothing_are_counted(desk: Desk) -> None:
    for _ in range(3):
        await desk.lose()
    assert (await desk.take()).unexplained == 4


async def test_a_give_back_explains_its_own_delivery_and_no_other(desk: Desk) -> None:
    await desk.lose()
    for _ in range(3):
        await (await desk.take()).give_back(0.0)
    await desk.lose()
    assert (await desk.take()).unexplained == 3  # two that were lost, and this one


async def test_a_give_back_that_counts_explains_nothing(desk: Desk) -> None:
    for _ in range(2):
        await (await desk.take()).give_back(0.0, counts=True)
    assert (await desk.take()).unexplained == 3


async def test_an_alarm_begins_the_count_anew(desk: Desk) -> None:
    await desk.lose()
    await (await desk.take()).become_alarm("a", "", 0.0)
    custody = await desk.take()
    assert custody.unexplained == 1
    assert custody.message is not None
    assert custody.message.alarm


async def test_a_message_that_moved_on_begins_the_count_anew(desk: Desk) -> None:
    await desk.lose()
    custody = await desk.take()
    custody.move_on("a", "b", "7")
    await custody.renew()
    await desk.clock.tick(61.0)
    again = await desk.take()
    assert again.message is not None
    assert (again.message.node_key, again.message.session, again.unexplained) == ("b", "7", 2)


async def test_what_is_passed_is_done_once_the_message_has_left_it(desk: Desk) -> None:
    custody = await desk.take()
    await custody.claim("a")
    await custody.claim("b")
    custody.move_on("a", "b", "")
    assert await desk.claim("a") is Claim.HELD
    await custody.renew()
    assert (await desk.claim("a"), await desk.claim("b")) == (Claim.DONE, Claim.HELD)
    await custody.give_back(0.0)
    assert await desk.claim("b") is Claim.CLAIMED


async def test_a_lost_message_leaves_nothing_done(desk: Desk) -> None:
    custody = await desk.take(timeout_s=1.0)
    await custody.claim("a")
    custody.move_on("a", "b", "")
    await desk.clock.tick(2.0)
    await desk.take()
    await custody.give_back(0.0)
    assert custody.lost
    assert await desk.claim("a") is Claim.CLAIMED


async def test_a_discharged_delivery_leaves_its_node_keys_done(desk: Desk) -> None:
    custody = await desk.take()
    await custody.claim("a")
    await custody.delete()
    await custody.discharge(parked=False, moved=-1)
    assert await desk.claim("a") is Claim.DONE


async def test_a_renewal_tells_what_was_resolved_so_far_and_the_end_does_not_tell_it_again(
    desk: Desk,
) -> None:
    await desk.services.queue.send(Message("r", node_key="a").to_body())
    custody = await desk.take()
    assert await custody.claim("a") is Claim.CLAIMED
    custody.ledger.resolved += 1
    custody.move_on("a", "b", "")
    await custody.renew()
    assert await desk.services.coordination.progress(["r"]) == {"r": 1}
    await custody.discharge(parked=True, moved=0)
    assert await desk.services.coordination.progress(["r"]) == {"r": 1}

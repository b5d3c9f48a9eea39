"""A delivery that may have ended its workers runs alone, and nobody waits for it for ever."""

from __future__ import annotations

import asyncio

from tests.simulation.virtual_time import run

from flowcraft.distributed.jobs.quarantine import ALONE_S, Quarantine


class Ward:
    """A quarantine, and what happens in it, in order."""

    def __init__(self, wait_s: float = 30.0) -> None:
        self.told: list[str] = []
        self.quarantine = Quarantine(wait_s, lambda: self.told.append("open"))

    async def work(self, name: str, seconds: float, *, suspected: bool = False) -> None:
        async with self.quarantine.admitted(suspected=suspected) as admitted:
            if admitted:
                self.told.append(f"{name} begins")
                await asyncio.sleep(seconds)
                self.told.append(f"{name} ends")
            else:
                self.told.append(f"{name} is turned away")


def test_a_suspected_delivery_waits_for_those_in_work_and_closes_the_door() -> None:
    async def story() -> list[str]:
        ward = Ward()
        first = asyncio.create_task(ward.work("a", 5.0))
        await asyncio.sleep(1.0)
        suspect = asyncio.create_task(ward.work("suspect", 5.0, suspected=True))
        await asyncio.sleep(1.0)
        assert ward.quarantine.closed
        await asyncio.gather(first, suspect)
        assert not ward.quarantine.closed
        return ward.told

    assert run(story()) == ["a begins", "a ends", "suspect begins", "suspect ends", "open"]


def test_of_two_suspected_deliveries_one_is_turned_away() -> None:
    async def story() -> list[str]:
        ward = Ward()
        await asyncio.gather(ward.work("a", 5.0, suspected=True), ward.work("b", 5.0, suspected=True))
        return ward.told

    assert run(story()) == ["a begins", "b is turned away", "a ends", "open"]


def test_nobody_waits_for_ever_for_long_work() -> None:
    async def story() -> list[str]:
        ward = Ward(wait_s=30.0)
        long = asyncio.create_task(ward.work("long", 3600.0))
        await asyncio.sleep(1.0)
        await ward.work("suspect", 5.0, suspected=True)
        long.cancel()
        return ward.told

    assert run(story()) == ["long begins", "suspect begins", "suspect ends", "open"]


def test_a_long_suspected_delivery_opens_the_door_after_a_while() -> None:
    async def story() -> bool:
        ward = Ward()
        suspect = asyncio.create_task(ward.work("suspect", 3600.0, suspected=True))
        await asyncio.sleep(ALONE_S - 1)
        assert ward.quarantine.closed
        await asyncio.sleep(2.0)
        open_again = not ward.quarantine.closed
        suspect.cancel()
        return open_again

    assert run(story())

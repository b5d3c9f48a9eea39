"""Runs that are over are deleted when their time is over, whole, and not before, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
import structlog
from tests.simulation.families import draw_family
from tests.simulation.faults import Plan, storm
from tests.simulation.shelf import FAMILIES
from tests.simulation.simulation import PATIENCE_S, is_over
from tests.simulation.story import Story
from tests.simulation.verdict import violations
from tests.simulation.virtual_time import run
from tests.simulation.world import World

from flowcraft_api.wire import TERMINAL_STATUSES

KEPT_S = 600.0


class Purged:
    """A simulation of a run, and of what becomes of it after its end."""

    def __init__(self, story: Story, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.world = World(replace(story, kept_s=KEPT_S), Plan(inline_bytes=plan.inline_bytes), seed)
        self.wrong: list[str] = []

    async def live(self) -> None:
        world = self.world
        world.start()
        deadline = world.now + PATIENCE_S
        while not await is_over(world) and world.now < deadline:
            pass  # it lets time pass
        self.wrong += violations(world)
        over_s = world.ended_s or world.now
        world.plan = replace(self.plan, storm_s=world.now + KEPT_S + 300.0 if self.plan.storm_s else 0.0)
        world._spawn(world._reconcile())
        await self._until(lambda: not world.facts.runs or self._headers() == 0, "purged in part")
        if world.now < over_s + KEPT_S - 10.0:
            self.wrong.append(f"deleted {world.now - over_s:.0f} s after its end")
        await self._until(lambda: self._headers() == 0, "purged")
        if world.facts.runs or world.values.values:
            self.wrong.append(f"left: {list(world.facts.runs)}, {list(world.values.values)}")
        if not self.plan.storm_s and (world.coordination.claims or world.coordination.joins):
            self.wrong.append(f"left: {[*world.coordination.claims, *world.coordination.joins]}")
        await world.close()
        self.wrong += world.history.defects

    def _headers(self) -> int:
        return sum(bool(partition.items) for partition in self.world.facts.headers.values())

    async def _until(self, look: Callable[[], bool], what: str) -> None:
        deadline = self.world.now + KEPT_S + PATIENCE_S
        while not look():
            if self.world.now > deadline:
                self.wrong.append(f"is not {what}")
                return
            await asyncio.sleep(1.0)


def ends(story: Story) -> bool:
    """It comes to an end, and whoever started it could say how long it is kept."""
    return story.status in TERMINAL_STATUSES and not story.by_hand and not story.late_s


@pytest.mark.parametrize("name", ["calm", "large values", "storm"])
@pytest.mark.parametrize("family", ["graph", "children", "subflows"])
def test_a_run_goes_when_its_time_is_over(family: str, name: str) -> None:
    draw = draw_family if family == "subflows" else FAMILIES[family]
    purged = 0
    for seed in range(1_000_000, 1_000_006):
        story = draw(seed)
        if not ends(story):
            continue
        plan = {"calm": Plan(), "large values": Plan(inline_bytes=8), "storm": storm(seed)}[name]
        simulated = Purged(story, plan, seed)
        with structlog.testing.capture_logs():
            run(simulated.live())
        purged += 1
        if simulated.wrong:
            told = "\n".join(simulated.wrong)
            pytest.fail(f"seed {seed}, {plan.text}\n{simulated.world.history.text()}\n{told}", pytrace=False)
    assert purged

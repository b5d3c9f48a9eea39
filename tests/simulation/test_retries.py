"""Cancelled runs that are retried: the new run comes to the end that the old one was meant to have.

It executes nothing that it took over, and loses nothing, under faults and stale reads too.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import pytest
import structlog
from tests.simulation.faults import Plan, storm
from tests.simulation.simulation import PATIENCE_S
from tests.simulation.story import DECISION, Act, Story, draw
from tests.simulation.verdict import final_header
from tests.simulation.virtual_time import run
from tests.simulation.world import RUN, Process, World

from flowcraft.distributed.client import Client
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.ports.errors import BackendUnavailableError, StaleReadError
from flowcraft.records import NodeRecord
from flowcraft_api.wire import TERMINAL_STATUSES

AGAIN = f"{RUN}-r1"


def cancelled(seed: int) -> Story | None:
    """The story of a seed, cut short; None if it would not complete, or nobody knows its blueprint's name."""
    story = draw(seed)
    if story.status != "completed" or story.by_hand or story.late_s or story.deadline_s:
        return None
    after_s = random.Random(f"cancel {seed}").uniform(0.0, 6.0)  # noqa: S311
    return dataclasses.replace(story, acts=(Act("cancel", after_s),), indecision=False)


class Retried:
    """A simulation with a second run."""

    def __init__(self, story: Story, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.world = World(story, Plan(lag_s=plan.lag_s, skew_s=plan.skew_s), seed)
        self.wrong: list[str] = []
        self.adopted = 0

    async def live(self) -> None:
        world = self.world
        world.start()
        await self._until(lambda: world.acted and final_header(world).get("status") in TERMINAL_STATUSES)
        if final_header(world)["status"] == "cancelled":
            await asyncio.sleep(200.0)  # what was told of the end has ended too
            await self._retry()
        await world.close()
        self.wrong += [*world.history.defects, *world.misread]

    async def _retry(self) -> None:
        world, plan = self.world, self.plan
        done = {record.key for record in self._records(RUN).values() if record.status == "completed"}
        world.plan = dataclasses.replace(plan, storm_s=world.now + plan.storm_s if plan.storm_s else 0.0)
        if plan.storm_s:
            world._spawn(world._reconcile())
        before = len(world.began)
        client = Client(**Process(world, "client", mortal=False).ports())
        await self._persist(client, lambda: client.retry(RUN))
        deciding = [world._spawn(self._decide(client, *each)) for each in world.story.decisions.items()]
        await self._until(lambda: self._header().get("status") in TERMINAL_STATUSES)
        for task in deciding:
            task.cancel()
        self._judge(done, {began.key for began in world.began[before:]})

    def _judge(self, done: set[str], ran: set[str]) -> None:
        header, records = self._header(), self._records(AGAIN)
        adopted = set(header.get("adoptedKeys", ()))
        self.adopted = len(adopted)
        if header.get("status") != "completed":
            self.wrong.append(f"it is {header.get('status')}: {header.get('message')}")
        if adopted & ran:
            self.wrong.append(f"executed though taken over: {sorted(adopted & ran)}")
        if not done <= records.keys():
            self.wrong.append(f"neither taken over nor done again: {sorted(done - records.keys())}")
        for key, told in self.world.story.told.items():
            if key in records and (records[key].status == "skipped") != (told.state == "skipped"):
                self.wrong.append(f"{key} is {records[key].status}, and should have {told.state}")

    async def _decide(self, client: Client, key: str, action: str | None) -> None:
        while True:
            await client.clock.sleep(3.0)
            try:
                await self._persist(client, lambda: client.decide(AGAIN, key, action=action, output=DECISION))
            except RefusedError as error:
                if not error.retryable:
                    return
            else:
                return

    async def _persist(self, client: Client, verb: Any) -> None:
        while True:
            try:
                await verb()
            except (BackendUnavailableError, StaleReadError):
                await client.clock.sleep(2.0)
            else:
                return

    async def _until(self, look: Any) -> None:
        deadline = self.world.now + self.plan.storm_s + PATIENCE_S
        while not look():
            if self.world.now > deadline:
                self.wrong.append("it does not come to its end")
                return
            await asyncio.sleep(1.0)

    def _header(self) -> dict[str, Any]:
        stored = self.world.facts.headers.get(AGAIN)
        found = stored.read("header", stored.newest) if stored else None
        return dict(found.value) if found else {}

    def _records(self, run_id: str) -> dict[str, NodeRecord]:
        items = self.world.facts.partition(run_id).items
        return {
            name[2:]: NodeRecord.from_document(versions[-1].value)
            for name, versions in items.items()
            if name.startswith("n:")
        }


def retried(seed: int, plan: Plan) -> Retried | None:
    story = cancelled(seed)
    if story is None:
        return None
    simulated = Retried(story, plan, seed)
    with structlog.testing.capture_logs():
        run(simulated.live())
    return simulated


@pytest.mark.parametrize("name", ["calm", "stale reads", "storm"])
@pytest.mark.parametrize("first", [0, 1000])
def test_a_cancelled_run_that_is_retried_comes_to_its_end(first: int, name: str) -> None:
    adopted = 0
    for seed in range(first, first + 20):
        plan = {"calm": Plan(), "stale reads": Plan(lag_s=0.25), "storm": storm(seed)}[name]
        simulated = retried(seed, plan)
        if simulated is None:
            continue
        adopted += simulated.adopted
        if simulated.wrong:
            told = "\n".join(simulated.wrong)
            pytest.fail(f"seed {seed}, {plan.text}\n{simulated.world.history.text()}\n{told}", pytrace=False)
    assert adopted > 10, "there must be something to take over"

"""Hunting a planted bug: schedules of a campaign, in order, until one is wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from tests.simulation.campaign import BLOCK, FIRST, planned
from tests.simulation.faults import At, Plan, WorldFault
from tests.simulation.planted import catalogue as catalogue  # noqa: PLC0414  fills the list of bugs
from tests.simulation.planted.patches import BUGS, Bug
from tests.simulation.simulation import simulate


@dataclass(frozen=True)
class Found:
    """What it took.

    Attributes:
        schedules: How many, the one that found it included; None if none of them did.
        violation: What was wrong.
        plan: The faults of that schedule.
    """

    schedules: int | None
    violation: str = ""
    plan: Plan | None = None


def hunt(bug: Bug, most: int, first: int = FIRST) -> Found:
    """Run schedules with the bug until one is wrong, at most so many."""
    for tried, (seed, plan) in enumerate(_schedules(first, most, bug), 1):
        with bug.planted():
            result = simulate(seed, plan)
        if result.violations:
            return Found(tried, result.violations[0], plan)
    return Found(None)


def hunt_named(work: tuple[str, int]) -> tuple[str, Found]:
    """Hunt the bug of a name; takes and gives what can be sent to another process."""
    name, most = work
    return name, hunt(BUGS[name], most)


def _schedules(first: int, count: int, bug: Bug) -> Iterator[tuple[int, Plan]]:
    calls = 0
    for number in range(first, first + count):
        seed, plan = planned(number, calls)
        if number % BLOCK == 0:
            with bug.planted():
                calls = simulate(seed).calls
        if bug.only:
            rng = random.Random(f"planted {number}")  # noqa: S311
            fault = cast("WorldFault", rng.choice(bug.only))
            seed, plan = number - number % BLOCK, Plan(single=(At(rng.randint(1, max(calls, 1)), fault),))
        yield seed, plan

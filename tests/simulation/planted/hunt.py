"""Hunting a planted bug: simulations in order, until one is wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.campaign import FIRST, planned
from tests.simulation.faults import At, Plan, storm
from tests.simulation.planted import catalogue as catalogue  # noqa: PLC0414  fills the list of bugs
from tests.simulation.planted.patches import BUGS, Bug, Where
from tests.simulation.shelf import BLOCK, FAMILIES, told_by
from tests.simulation.simulation import Result, simulate
from tests.simulation.story import Story

SINGLES = 12
"""Single faults, or pairs, that are tried in one story."""
SOON = 8
"""The second fault of a pair is at most so many calls after the first."""


@dataclass(frozen=True)
class Found:
    """What it took.

    Attributes:
        schedules: How many, the one that found it included; None if none of them did.
        violation: What was wrong.
        seed: Of that simulation.
        plan: The faults of that simulation.
    """

    schedules: int | None
    violation: str = ""
    seed: int = 0
    plan: Plan | None = None


def hunt(bug: Bug, most: int, first: int = FIRST) -> Found:
    """Run simulations with the bug until one is wrong, at most so many."""
    for tried, result in enumerate(_simulations(bug, first), 1):
        if result.violations:
            _require_fit(result.violations[0])
            return Found(tried, result.violations[0], result.seed, result.plan)
        if tried >= most:
            break
    return Found(None)


def _require_fit(violation: str) -> None:
    """What is found is to be the rule that is missing, and not that the product has changed its shape.

    Raises:
        ValueError: it is.
    """
    if "tests/simulation/planted/" in violation and (
        "TypeError" in violation or "AttributeError" in violation
    ):
        raise ValueError(f"the bug does not fit the product any more: {violation}")
    if "TypeError" in violation and "<locals>" in violation:
        raise ValueError(f"the bug does not fit the product any more: {violation}")


def hunt_named(work: tuple[str, int]) -> tuple[str, Found]:
    """Hunt the bug of a name; takes and gives what can be sent to another process."""
    name, most = work
    return name, hunt(BUGS[name], most)


def control(where: Where, count: int, first: int = FIRST) -> list[Result]:
    """The same simulations without any bug; those that are wrong all the same."""
    bug = Bug("none", "", "", marked=False, plant=lambda _patches: None, where=where)
    simulations = zip(range(count), _simulations(bug, first), strict=False)
    return [result for _, result in simulations if result.violations]


def _simulations(bug: Bug, first: int) -> Iterator[Result]:
    number = first
    while True:
        if bug.where.mode == "mixed":
            yield from _block(bug, number)
            number += BLOCK
        else:
            story = FAMILIES[bug.where.family](number)
            if bug.where.story(story):
                yield from _told(bug, number, story)
            number += 1


def _block(bug: Bug, first: int) -> Iterator[Result]:
    calls = 0
    for number in range(first, first + BLOCK):
        seed, plan = planned(number, calls)
        result = _with(bug, seed, plan, told_by(number, seed))
        calls = calls or result.calls
        yield result


def _told(bug: Bug, seed: int, story: Story) -> Iterator[Result]:
    where, rng = bug.where, random.Random(f"planted {seed}")  # noqa: S311
    if where.mode == "storm":
        yield _with(bug, seed, storm(seed), story)
    elif where.mode == "lag":
        yield _with(bug, seed, Plan(lag_s=rng.choice([0.05, 0.25, 1.0])), story)
    else:
        result = _with(bug, seed, Plan(), story)
        yield result
        calls = min(result.calls, where.calls) if where.calls else max(result.calls, 1)
        for _ in range(SINGLES if where.mode in ("single", "pair") else 0):
            at = At(rng.randint(1, calls), rng.choice(where.faults))
            plan = Plan((at,), lag_s=where.lag_s)
            if where.mode == "pair":
                soon = At(at.call + rng.randint(1, SOON), rng.choice(where.then))
                plan = Plan((at, soon), lag_s=where.lag_s, repairs=True)
            yield _with(bug, seed, plan, story)


def _with(bug: Bug, seed: int, plan: Plan, story: Story) -> Result:
    with bug.planted():
        return simulate(seed, plan, story)

"""What is rare in other stories: long busy branches, two editions of a blueprint, long pauses."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.simulation.faults import CALL_FAULTS, At, Plan, storm
from tests.simulation.shelf import FAMILIES
from tests.simulation.simulation import Result, simulate

EARLY = 60
"""Most of what happens in these stories happens within so many calls; then somebody only waits."""


def _all_well(results: list[Result]) -> None:
    for result in results:
        if result.violations:
            pytest.fail(str(result), pytrace=False)


@pytest.mark.parametrize("family", ["busy", "editions", "long pause", "late owner"])
def test_without_faults(family: str) -> None:
    _all_well([simulate(seed, Plan(), FAMILIES[family](seed)) for seed in range(2)])


@pytest.mark.parametrize("family", ["editions", "late owner"])
def test_with_faults(family: str) -> None:
    rng = random.Random(family)  # noqa: S311
    for seed in range(8):
        fault = At(rng.randint(1, EARLY), rng.choice(CALL_FAULTS))
        plans = [Plan((fault,)), Plan(lag_s=0.25), storm(seed)]
        _all_well([simulate(seed, plan, FAMILIES[family](seed)) for plan in plans])


def test_what_is_lost_of_a_busy_run_is_sent_again() -> None:
    _all_well([simulate(1, Plan((At(call, "message lost"),)), FAMILIES["busy"](1)) for call in (22, 36)])


@pytest.mark.parametrize("family", ["graph", "children", "loops"])
def test_values_that_leave_their_facts(family: str) -> None:
    """Nearly every output, input and context value is one."""
    for seed in range(20_000_000, 20_000_004):
        plans = [Plan(inline_bytes=8), Plan(lag_s=0.25, inline_bytes=8), replace(storm(seed), inline_bytes=8)]
        _all_well([simulate(seed, plan, FAMILIES[family](seed)) for plan in plans])


@pytest.mark.parametrize("family", ["graph", "children", "loops"])
def test_clocks_that_are_minutes_apart(family: str) -> None:
    for seed in range(20_000_000, 20_000_004):
        plans = [Plan(skew_s=90.0), replace(storm(seed), skew_s=90.0)]
        _all_well([simulate(seed, plan, FAMILIES[family](seed)) for plan in plans])


@pytest.mark.parametrize("family", ["graph", "children", "loops"])
def test_runs_beside_each_other_have_nothing_in_common(family: str) -> None:
    """Two runs of one blueprint, with the same node keys, in the same workers."""
    tried = 0
    for seed in range(20_000_000, 20_000_006):
        story = FAMILIES[family](seed)
        if story.status == "awaiting" or story.decisions or story.by_hand or story.kills:
            continue
        story = replace(story, beside=True)
        plans = [Plan(), Plan(lag_s=0.25), storm(seed)]
        _all_well([simulate(seed, plan, story) for plan in plans])
        tried += 1
    assert tried

"""Loops under the faults that workers promise to survive."""

from __future__ import annotations

import random

import pytest
from tests.simulation.faults import Plan, storm
from tests.simulation.loop_stories import draw_loops
from tests.simulation.simulation import Result, simulate, single_faults


def _all_well(results: list[Result]) -> None:
    for result in results:
        if result.violations:
            pytest.fail(str(result), pytrace=False)


def _told(seed: int, plan: Plan | None = None) -> Result:
    return simulate(seed, plan, draw_loops(seed))


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_loops_without_faults(first: int) -> None:
    _all_well([_told(seed) for seed in range(first, first + 20)])


def test_loops_with_stale_reads() -> None:
    _all_well([_told(seed, Plan(lag_s=0.25)) for seed in range(15)])


def test_loops_and_one_fault_at_any_call() -> None:
    for seed in range(5):
        plans = list(single_faults(_told(seed).calls))
        sample = random.Random(seed).sample(plans, 4)  # noqa: S311
        _all_well([_told(seed, plan) for plan in sample])


def test_loops_in_a_storm_of_faults() -> None:
    _all_well([_told(seed, storm(seed)) for seed in range(12)])

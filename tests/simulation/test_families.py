"""Runs and their child runs under faults: none is lost, each ends once, no child outlives its parent."""

from __future__ import annotations

import random

import pytest
from tests.simulation.families import draw_family
from tests.simulation.faults import Plan, storm
from tests.simulation.simulation import Result, simulate, single_faults


def _family(seed: int, plan: Plan | None = None) -> Result:
    return simulate(seed, plan, draw_family(seed))


def _all_well(results: list[Result]) -> None:
    for result in results:
        if result.violations:
            pytest.fail(str(result), pytrace=False)


@pytest.mark.parametrize("first", [0, 20])
def test_without_faults_nothing_is_done_twice_and_nobody_else_is_needed(first: int) -> None:
    _all_well([_family(seed) for seed in range(first, first + 20)])


def test_stale_reads_change_no_value_and_no_end() -> None:
    _all_well([_family(seed, Plan(lag_s=0.25)) for seed in range(15)])


@pytest.mark.parametrize("first", [0, 6])
def test_one_fault_at_any_call_is_survived_without_reconciliation(first: int) -> None:
    for seed in range(first, first + 6):
        plans = list(single_faults(_family(seed).calls))
        chosen = random.Random(f"single {seed}").sample(plans, 6)  # noqa: S311
        _all_well([_family(seed, plan) for plan in chosen])


@pytest.mark.parametrize("first", [0, 10])
def test_a_storm_of_faults_delays_them_and_changes_nothing_else(first: int) -> None:
    _all_well([_family(seed, storm(seed)) for seed in range(first, first + 10)])

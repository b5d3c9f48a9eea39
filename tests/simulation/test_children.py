"""Batches and nodes made by nodes, under every fault: no child is lost, doubled, or comes too early."""

from __future__ import annotations

import pytest
from tests.simulation.batch_stories import draw_children
from tests.simulation.faults import Plan, storm
from tests.simulation.simulation import Result, simulate


def _all_well(results: list[Result]) -> None:
    for result in results:
        if result.violations:
            pytest.fail(str(result), pytrace=False)


def test_without_faults_nothing_is_done_twice_and_nobody_else_is_needed() -> None:
    _all_well([simulate(seed, Plan(), draw_children(seed)) for seed in range(40)])


def test_stale_reads_change_no_value_and_no_end() -> None:
    _all_well([simulate(seed, Plan(lag_s=0.25), draw_children(seed)) for seed in range(25)])


def test_a_storm_of_faults_delays_a_run_and_changes_nothing_else() -> None:
    _all_well([simulate(seed, storm(seed), draw_children(seed)) for seed in range(25)])

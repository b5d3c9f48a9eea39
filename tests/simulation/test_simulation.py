"""The real worker, client and reconciler on simulated services, under the faults they promise to survive.

A failure prints the story, every call and what is wrong; ``python -m tests.simulation`` runs more of them.
"""

from __future__ import annotations

import pytest
from tests.simulation.faults import At, Plan, storm
from tests.simulation.simulation import Result, sampled_single_faults, simulate
from tests.simulation.story import SECOND_EDITION


def _all_well(results: list[Result]) -> None:
    for result in results:
        if result.violations:
            pytest.fail(str(result), pytrace=False)


@pytest.mark.parametrize(
    "plan", [Plan(), storm(3), storm(4), Plan(lag_s=0.2)], ids=["calm", "s3", "s4", "lag"]
)
def test_the_same_seed_gives_the_same_history(plan: Plan) -> None:
    assert len({simulate(11, plan).digest for _ in range(3)}) == 1


@pytest.mark.parametrize("first", [*range(0, 120, 40), *range(SECOND_EDITION, SECOND_EDITION + 80, 40)])
def test_without_faults_nothing_is_done_twice_and_nobody_else_is_needed(first: int) -> None:
    _all_well([simulate(seed) for seed in range(first, first + 40)])


@pytest.mark.parametrize("first", [*range(0, 40, 20), *range(SECOND_EDITION, SECOND_EDITION + 40, 20)])
def test_stale_reads_change_no_value_and_no_end(first: int) -> None:
    _all_well([simulate(seed, Plan(lag_s=0.25)) for seed in range(first, first + 20)])


@pytest.mark.parametrize("first", [*range(0, 30, 10), *range(SECOND_EDITION, SECOND_EDITION + 30, 10)])
def test_one_fault_at_any_call_is_survived_without_reconciliation(first: int) -> None:
    """Unless a message or an arrival is lost: only the reconciler notices."""
    for seed in range(first, first + 10):
        _all_well([simulate(seed, plan) for plan in sampled_single_faults(seed, 8)])


@pytest.mark.parametrize("first", [*range(0, 75, 15), *range(SECOND_EDITION, SECOND_EDITION + 75, 15)])
def test_a_storm_of_faults_delays_a_run_and_changes_nothing_else(first: int) -> None:
    _all_well([simulate(seed, storm(seed)) for seed in range(first, first + 15)])


@pytest.mark.parametrize(
    ("seed", "plan"),
    [
        pytest.param(121, Plan(), id="a held start message sent its siblings at each give-back"),
        pytest.param(58, Plan(), id="settling signalled what was on its way"),
        pytest.param(3, Plan(single=(At(50, "no answer"),)), id="an unanswered context read failed its node"),
        pytest.param(
            189, Plan(single=(At(71, "coordination forgets"),)), id="the end was dropped beside a ready join"
        ),
        pytest.param(58, Plan(lag_s=0.25), id="a decision was not seen by its own signal"),
        pytest.param(186, Plan(lag_s=0.25), id="an input was not seen"),
        pytest.param(290, Plan(lag_s=0.25), id="a terminal's output was not seen"),
        pytest.param(
            SECOND_EDITION + 3,
            Plan(single=(At(8, "not done"),)),
            id="a repeated start of a pinned run was not signalled",
        ),
        pytest.param(
            1_000_153,
            storm(1_000_153),
            id="reconciliation sent the start message of a run without workers in every pass",
        ),
        pytest.param(1_001_640, Plan(), id="messages hidden for long went by what was remembered of the run"),
        pytest.param(
            2_004_840,
            Plan(single=(At(54, "visibility runs out"),)),
            id="siblings signalled again were not looked at first",
        ),
        pytest.param(100_062, Plan(), id="a drain that cut a claim short left it"),
        pytest.param(200_086, Plan(), id="a drain that cut a discharge short left its claim"),
        pytest.param(
            20_031_300,
            Plan(single=(At(15, "message twice"),)),
            id="a doubled message of a node that waits to be tried again ran its first attempt again",
        ),
        pytest.param(20_054_250, Plan(), id="a wait was listed when it was over; a drain left a count"),
    ],
)
def test_what_was_once_wrong(seed: int, plan: Plan) -> None:
    _all_well([simulate(seed, plan)])

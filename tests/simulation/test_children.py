"""Batches and nodes made by nodes, under every fault: no child is lost, doubled, or comes too early."""

from __future__ import annotations

import random

import pytest
from tests.simulation.batch_stories import draw_children
from tests.simulation.faults import At, Plan, storm
from tests.simulation.simulation import Result, simulate, single_faults


def _all_well(results: list[Result]) -> None:
    for result in results:
        if result.violations:
            pytest.fail(str(result), pytrace=False)


def test_without_faults_nothing_is_done_twice_and_nobody_else_is_needed() -> None:
    _all_well([simulate(seed, Plan(), draw_children(seed)) for seed in range(30)])


def test_stale_reads_change_no_value_and_no_end() -> None:
    _all_well([simulate(seed, Plan(lag_s=0.25), draw_children(seed)) for seed in range(15)])


def test_a_storm_of_faults_delays_a_run_and_changes_nothing_else() -> None:
    _all_well([simulate(seed, storm(seed), draw_children(seed)) for seed in range(20)])


def test_one_fault_at_any_call_is_survived_without_reconciliation() -> None:
    """Unless a message or an arrival is lost: only the reconciler notices."""
    for seed in range(6):
        story = draw_children(seed)
        plans = list(single_faults(simulate(seed, Plan(), story).calls))
        chosen = random.Random(f"children {seed}").sample(plans, 4)  # noqa: S311
        _all_well([simulate(seed, plan, story) for plan in chosen])


def test_an_item_that_ends_its_workers_fails_by_itself() -> None:
    """Not its owner, which the message named while the item was worked on in place."""
    for seed in (835, 891, 980):
        story = draw_children(seed)
        assert story.kills
        _all_well([simulate(seed, plan, story) for plan in (Plan(), storm(seed))])


@pytest.mark.parametrize(
    ("seed", "plan"),
    [
        pytest.param(
            1308, Plan(single=(At(42, "crash before"),)), id="whoever was told that all are done died of it"
        ),
        pytest.param(1339, Plan(single=(At(86, "crash after"),)), id="the same among nodes that make nodes"),
        pytest.param(
            20_000_410,
            Plan(single=(At(21, "visibility runs out"), At(46, "message twice")), repairs=True),
            id="a lost delivery that had signalled everything left no mark of it",
        ),
        pytest.param(
            20_017_010,
            Plan(single=(At(114, "frozen after"),)),
            id="an owner whose children are done was signalled beside others as if it had not begun",
        ),
        pytest.param(
            20_029_410,
            Plan(single=(At(54, "message twice"),)),
            id="a doubled message of an item that waits to be tried again ran its first attempt again",
        ),
        pytest.param(
            20_041_510,
            Plan(single=(At(54, "crash after"),)),
            id="an item failed, and its worker died before it failed the run",
        ),
    ],
)
def test_what_was_once_wrong(seed: int, plan: Plan) -> None:
    _all_well([simulate(seed, plan, draw_children(seed))])

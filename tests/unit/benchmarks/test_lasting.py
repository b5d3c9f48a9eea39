"""Waiting is constant: each hour of it costs the same, and nothing where nothing is to be done."""

from __future__ import annotations

from benchmarks.lasting import HOUR_S, IDLE, MINUTE_S, RUNNING, curves, runs_for, sleeps_for, table, waits_for
from benchmarks.virtual_pool import DAY_S

from flowcraft.distributed.services import WorkerSettings

SETTINGS = WorkerSettings()


def test_a_node_that_runs_for_hours_costs_the_same_in_each_of_them() -> None:
    short, long = runs_for(10 * MINUTE_S, reconciled=False), runs_for(2 * HOUR_S, reconciled=False)
    renewals = SETTINGS.visibility_timeout_s / 3
    for lasted in (short, long):
        at_most = {
            "queue.update": lasted.seconds / renewals,
            "coordination.renew": lasted.seconds / renewals,
            "facts.read_header": lasted.seconds / SETTINGS.status_max_age_s,
            "facts.replace_header": lasted.seconds / SETTINGS.touch_interval_s,
        }
        assert lasted.meanwhile.keys() == at_most.keys(), "renewals, looks at the status, and nothing else"
        for call, count in lasted.meanwhile.items():
            assert at_most[call] - 2 <= count <= at_most[call], call
    beside = [lasted.requests - lasted.meanwhile for lasted in (short, long)]
    assert beside[0] == beside[1]


def test_a_sleep_costs_eight_requests_a_week() -> None:
    day, week, month = (sleeps_for(days * DAY_S, reconciled=False) for days in (1, 6.5, 30))
    assert day.requests == week.requests
    chained = month.requests - day.requests
    assert chained["queue.receive"] == 4, "a message is hidden for seven days at most"
    assert chained.total() <= 4 * 8
    assert month.requests["facts.commit"] == 2, "one record, written when it begins and when it is over"


def test_nothing_is_asked_while_a_node_waits_for_somebody() -> None:
    minutes, weeks = waits_for(10 * MINUTE_S, reconciled=False), waits_for(56 * DAY_S, reconciled=False)
    assert not weeks.meanwhile
    assert minutes.requests == weeks.requests


def test_the_reconciler_looks_at_what_waits_three_times_an_hour() -> None:
    lasted = waits_for(DAY_S)
    assert 70 <= lasted.looks <= 72
    assert lasted.looked.keys() == {"facts.read_header", "facts.records"}
    assert lasted.looked["facts.records"] == lasted.looks, "and each look is two requests"


def test_a_worker_holds_no_more_the_longer_a_node_runs() -> None:
    lasted = runs_for(4 * HOUR_S, reconciled=False)
    assert lasted.grown is not None
    assert lasted.grown < 100, "there were 1,440 renewals and 2,880 looks at the status"


def test_the_figures_are_shown() -> None:
    lasted = sleeps_for(HOUR_S, reconciled=False)
    found = {
        "a node runs": dict.fromkeys(RUNNING, lasted),
        "a sleep": dict.fromkeys(IDLE, lasted),
        "a wait": dict.fromkeys(IDLE, lasted),
    }
    assert "30 days" in table(found)
    assert f"line [{', '.join(['24'] * 4)}]" in curves(found)

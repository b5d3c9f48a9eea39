"""The simulation finds what it is there to find: bugs planted one at a time, each a rule left out.

Here are those that little suffices for; ``python -m tests.simulation.planted`` hunts all of them.
"""

from __future__ import annotations

import pytest
from tests.simulation.campaign import FIRST, run_block, schedule
from tests.simulation.faults import At, Plan
from tests.simulation.planted.hunt import hunt
from tests.simulation.planted.patches import BUGS
from tests.simulation.shrinking import Shrinker, fewest
from tests.simulation.simulation import simulate

QUICK = (
    "context in a write of its own",
    "context without proof",
    "delete before commit",
    "only the message is renewed",
    "poison without claim",
    "records are overwritten",
    "starts are repeated",
    "the end is forced",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str) -> None:
    assert hunt(BUGS[name], most=120).schedules is not None


def test_a_schedule_of_a_campaign_is_the_same_alone() -> None:
    seed, plan = schedule(FIRST + 7)
    tally = run_block(FIRST + 7, FIRST + 8)
    assert tally.schedules.total() == 1
    assert tally.calls == simulate(seed, plan).all_calls


def test_a_failing_simulation_shrinks_to_the_faults_it_needs() -> None:
    seed = 1
    with BUGS["delete before commit"].planted():
        plans = [
            Plan((At(3, "hints lost"), At(call, "crash after"), At(call + 9, "no answer")), lag_s=0.05)
            for call in range(17, 42, 3)
        ]
        found = next(plan for plan in plans if simulate(seed, plan).violations)
        shrunk = Shrinker(seed, found, tries=12).shrink()
    assert shrunk.violations
    assert 0 < len(shrunk.plan.single) < len(found.single), shrunk.plan.text
    assert not simulate(seed, shrunk.plan).violations


def test_a_plan_is_read_as_it_is_written() -> None:
    plan = Plan((At(3, "claim lost"), At(9, "crash before")), lag_s=0.25, storm_s=60.0, repairs=True)
    assert Plan.parsed(plan.text) == plan
    assert Plan.parsed(Plan().text) == Plan()
    with pytest.raises(ValueError, match="unknown in a plan: rain"):
        Plan.parsed("rain=3")


def test_the_fewest_faults_are_those_that_fail_together() -> None:
    assert list(fewest(range(20), lambda part: {3, 17} <= set(part))) == [3, 17]

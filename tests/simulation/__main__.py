"""Runs simulations.

``campaign --count 1000`` runs numbered schedules of all modes on every core; ``schedule --from N`` shows one,
``replay SEED 'PLAN'`` one that a shrunk history names; ``calm``, ``lag``, ``single`` and ``storm`` run one
mode over a range of seeds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Final

from tests.simulation import campaign
from tests.simulation.faults import CALL_FAULTS, WORLD_FAULTS, At, Plan, storm
from tests.simulation.shelf import FAMILIES, family_of
from tests.simulation.shrinking import Shrinker, without
from tests.simulation.simulation import sampled_single_faults, simulate, single_faults

SHOWN: Final = 3
"""Failures of a campaign that are shrunk and shown whole; the others are named."""


def main() -> int:
    """Run what the command line asks for; 1 if anything was wrong."""
    given = _arguments()
    if given.kind == "campaign":
        return _campaign(given)
    if given.kind == "replay":
        return _replay(given)
    if given.kind == "schedule":
        return _show(*campaign.schedule(given.first), family_of(given.first))
    return _range(given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    many = kinds.add_parser("campaign", help="schedules of all modes, on every core")
    many.add_argument("--from", dest="first", type=int, default=campaign.FIRST, help="first schedule")
    many.add_argument("--count", type=int, default=1000, help="how many schedules")
    many.add_argument("--processes", type=int, help="default: one a core")
    one = kinds.add_parser("schedule", help="one schedule of a campaign, shrunk if it fails")
    one.add_argument("--from", dest="first", type=int, required=True)
    again = kinds.add_parser("replay", help="one simulation")
    again.add_argument("seed", type=int)
    again.add_argument("plan", nargs="?", default="calm")
    again.add_argument("--family", choices=list(FAMILIES), default="graph", help="of which kind the story is")
    again.add_argument("--without", action="append", default=[], help="leave this out of the story")
    again.add_argument("--all", action="store_true", help="also calls that found nothing")
    for name in ("calm", "lag", "single", "storm"):
        _range_arguments(kinds.add_parser(name, help="this mode over a range of seeds"))
    return parser.parse_args()


def _range_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--each", type=int, default=20, help="single: faults a seed; 0 for all at every call")
    parser.add_argument("--call", type=int, help="single: only at this call")
    parser.add_argument("--fault", choices=[*CALL_FAULTS, *WORLD_FAULTS], help="single: only this fault")
    parser.add_argument("--lag", type=float, default=0.25, help="lag: seconds that reads may be stale")


def _campaign(given: argparse.Namespace) -> int:
    began = time.monotonic()
    tally = campaign.run_campaign(given.first, given.count, given.processes)
    for failure in tally.failures[:SHOWN]:
        sys.stdout.write(f"\n==== schedule {failure.number} ====\n")
        _show(failure.seed, failure.plan, failure.family)
    for failure in tally.failures:
        sys.stdout.write(f"schedule {failure.number}: {failure.violations[0][:300]}\n")
    seconds = time.monotonic() - began
    sys.stdout.write(f"{tally}\n{seconds:.0f} s, {tally.schedules.total() / seconds:.0f} schedules/s\n")
    return 1 if tally.failures else 0


def _show(seed: int, plan: Plan, family: str) -> int:
    shrinker = Shrinker(seed, plan, FAMILIES[family](seed))
    result = shrinker.shrink()
    sys.stdout.write(f"{result}\n")
    if result.violations:
        less = "".join(f" --without '{name}'" for name in shrinker.without)
        command = f"python -m tests.simulation replay {seed} '{result.plan.text}' --family {family}{less}"
        sys.stdout.write(f"after {shrinker.tries} simulations; again: {command}\n")
    return 1 if result.violations else 0


def _replay(given: argparse.Namespace) -> int:
    story = without(FAMILIES[given.family](given.seed), given.without)
    result = simulate(given.seed, Plan.parsed(given.plan), story)
    sys.stdout.write(f"{result.history.text(everything=True)}\n" if given.all else f"{result}\n")
    return 1 if result.violations else 0


def _range(given: argparse.Namespace) -> int:
    began, done, wrong = time.monotonic(), 0, 0
    for seed in range(given.first, given.first + given.count):
        for plan in _plans(seed, given):
            result = simulate(seed, plan)
            done += 1
            if result.violations or given.count == 1 == done:
                sys.stdout.write(f"{result}\n")
            wrong += bool(result.violations)
    sys.stdout.write(f"{wrong} of {done} simulations wrong, {time.monotonic() - began:.0f} s\n")
    return 1 if wrong else 0


def _plans(seed: int, given: argparse.Namespace) -> Iterator[Plan]:
    if given.kind == "calm":
        yield Plan()
    elif given.kind == "lag":
        yield Plan(lag_s=given.lag)
    elif given.kind == "storm":
        yield storm(seed)
    elif given.call and given.fault:
        yield Plan(single=(At(given.call, given.fault),))
    else:
        plans = sampled_single_faults(seed, given.each) if given.each else single_faults(simulate(seed).calls)
        yield from (plan for plan in plans if given.fault in (None, plan.single[0].fault))


if __name__ == "__main__":
    sys.exit(main())

"""Runs simulations: ``python -m tests.simulation storm --from 0 --count 1000``; one alone is shown whole."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from tests.simulation.faults import CALL_FAULTS, WORLD_FAULTS, At, Plan, storm
from tests.simulation.simulation import sampled_single_faults, simulate, single_faults

KINDS = ("calm", "lag", "single", "storm")


def main() -> int:
    """Run what the command line asks for; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--from", dest="first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument(
        "--each", type=int, default=20, help="single: faults a seed; 0 for every fault at every call"
    )
    parser.add_argument("--call", type=int, help="single: only at this call")
    parser.add_argument("--fault", choices=[*CALL_FAULTS, *WORLD_FAULTS], help="single: only this fault")
    parser.add_argument("--lag", type=float, default=0.25, help="lag: seconds that reads may be stale")
    given = parser.parse_args()
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

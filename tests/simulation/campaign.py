"""A campaign: any number of schedules of all modes mixed, on every core, with what came of them in figures.

Schedules are numbered, and each number is always the same one. Ten in a row are a block: the first has no
fault, and its calls tell where the single and double faults of its story may strike.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.faults import CALL_FAULTS, WORLD_FAULTS, At, Plan, storm
from tests.simulation.shelf import BLOCK, family_of, told_by
from tests.simulation.simulation import Result, simulate

FIRST: Final = 1_000_000
"""Number of the first schedule unless another is asked for: its stories have all there is to tell."""
PROGRESS_S: Final = 5.0
MODES: Final = ("calm", "lag", "storm", "storm", "storm", "pair", "single", "single", "single", "single")


@dataclass(frozen=True)
class Failure:
    """A schedule that went wrong."""

    number: int
    family: str
    seed: int
    plan: Plan
    violations: tuple[str, ...]


@dataclass
class Tally:
    """What a campaign ran, summed up.

    Attributes:
        schedules: How many, by mode.
        calls: Calls of ports, each an effect at one moment.
        seconds: Time that passed in the simulated worlds.
        faults: Faults that took effect, by kind.
        failures: What went wrong.
    """

    schedules: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def note(self, number: int, mode: str, result: Result) -> None:
        """Count a schedule."""
        self.schedules[mode] += 1
        self.calls += result.all_calls
        self.seconds += result.seconds
        self.faults.update(at.fault for at in result.struck)
        if result.plan.lag_s:
            self.faults["stale reads"] += result.stale_reads
        if result.violations:
            self.failures.append(
                Failure(number, family_of(number), result.seed, result.plan, result.violations)
            )

    def add(self, other: Tally) -> None:
        """Count another tally's."""
        self.schedules += other.schedules
        self.calls += other.calls
        self.seconds += other.seconds
        self.faults += other.faults
        self.failures += other.failures

    def __str__(self) -> str:
        modes = ", ".join(f"{count:,} {mode}" for mode, count in sorted(self.schedules.items()))
        faults = "\n".join(f"  {count:>12,} {kind}" for kind, count in self.faults.most_common())
        days = self.seconds / 86400
        return (
            f"{self.schedules.total():,} schedules ({modes})\n"
            f"{self.calls:,} steps (calls of ports), {days:,.1f} simulated days\n"
            f"{self.faults.total():,} faults\n{faults}\n{len(self.failures)} schedules with violations"
        )


def mode_of(number: int) -> str:
    """Which mode a schedule has."""
    return MODES[number % BLOCK]


def schedule(number: int) -> tuple[int, Plan]:
    """Seed and plan of one schedule; a single or double fault costs a simulation without any."""
    return planned(number, _calls(number) if mode_of(number) in ("single", "pair") else 0)


def _calls(number: int) -> int:
    calm = number - number % BLOCK
    return simulate(calm, story=told_by(calm, calm)).calls


def planned(number: int, calls: int) -> tuple[int, Plan]:
    """Seed and plan of one schedule, where so many calls are made in its block's story without faults."""
    mode, calm = mode_of(number), number - number % BLOCK
    rng = random.Random(f"schedule {number}")  # noqa: S311
    if mode == "lag":
        return number, Plan(lag_s=rng.choice([0.05, 0.25, 1.0]), skew_s=rng.choice([0.0, 2.0]))
    if mode == "storm":
        return number, storm(number)
    if mode == "single":
        return calm, Plan(single=(_fault(rng, calls),))
    if mode == "pair":
        return calm, Plan(single=(_fault(rng, calls), _fault(rng, calls)), repairs=True)
    return number, Plan()


def _fault(rng: random.Random, calls: int) -> At:
    return At(rng.randint(1, max(calls, 1)), rng.choice([*CALL_FAULTS, *WORLD_FAULTS]))


def run_block(first: int, last: int) -> Tally:
    """Run the schedules from the first up to and without the last, all of one block."""
    tally, calls = Tally(), 0
    for number in range(first, last):
        if number == first and mode_of(number) != "calm":
            calls = _calls(number)
        seed, plan = planned(number, calls)
        result = simulate(seed, plan, told_by(number, seed))
        if mode_of(number) == "calm":
            calls = result.calls
        tally.note(number, mode_of(number), result)
    return tally


def blocks(first: int, count: int) -> Iterator[tuple[int, int]]:
    """The parts of so many schedules that lie in one block each."""
    at, end = first, first + count
    while at < end:
        following = min(at - at % BLOCK + BLOCK, end)
        yield at, following
        at = following


def _run_part(part: tuple[int, int]) -> Tally:
    return run_block(*part)


def run_campaign(first: int, count: int, processes: int | None = None) -> Tally:
    """Run so many schedules on so many processes (default: one a core), telling progress on stderr."""
    tally, began = Tally(), time.monotonic()
    told = began
    width = processes or len(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(width) as pool:
        for part in pool.imap_unordered(_run_part, blocks(first, count), chunksize=4):
            tally.add(part)
            for failure in part.failures:
                _tell(f"\n{failure.number}: {failure.violations[0][:200]}\n")
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                _tell(_progress(tally, count, told - began))
    _tell(_progress(tally, count, time.monotonic() - began) + "\n")
    return tally


def _progress(tally: Tally, count: int, seconds: float) -> str:
    done = tally.schedules.total()
    rate = done / max(seconds, 0.001)
    left = (count - done) / max(rate, 0.001)
    return f"\r{done:,}/{count:,}, {rate:.0f}/s, {left / 60:.0f} min left, {len(tally.failures)} wrong  "


def _tell(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()

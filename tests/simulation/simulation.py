"""One simulation: a story, its faults, and the verdict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from tests.simulation.faults import CALL_FAULTS, WORLD_FAULTS, At, Plan
from tests.simulation.history import History
from tests.simulation.story import Story, draw
from tests.simulation.verdict import settled, violations
from tests.simulation.virtual_time import run
from tests.simulation.world import World

PATIENCE_S = 2 * 3600.0
"""A run must be over so long after its last fault."""

MOST_CALLS = 100_000
"""A worker that goes in circles is stopped; a run is over after a thousandth of it, or a tenth."""

GRACE_S = 20.0
"""How long what was just ended may take to tell so: claims are given up after the message is deleted."""


@dataclass(frozen=True)
class Result:
    """What came of a simulation.

    Attributes:
        violations: What is not as it must be.
        calls: How many calls of ports there were until the run was over.
        digest: The same for the same history.
        seconds: How long it took, in its own time.
        repairs: In how many runs the reconciler found something to do, over all its passes.
        history: Its lines.
        struck: The faults that took effect.
        all_calls: How many calls of ports there were in all.
        stale_reads: How many reads did not see the newest.
    """

    story: Story
    plan: Plan
    seed: int
    violations: tuple[str, ...]
    calls: int
    digest: str
    seconds: float
    repairs: int
    history: History
    struck: tuple[At, ...] = ()
    all_calls: int = 0
    stale_reads: int = 0

    def __str__(self) -> str:
        told = {key: one.state for key, one in self.story.told.items()}
        edges = " ".join(
            f"{e.source}>{e.target}[{e.action or ''}]({e.condition or ''})"
            for e in self.story.blueprint.edges
        )
        nodes = "\n".join(f"  {node.to_dict()}" for node in self.story.blueprint.nodes)
        wrong = "\n".join(f"* {one}" for one in self.violations)
        return (
            f"seed {self.seed}, plan '{self.plan.text}'\n"
            f"story: {self.story.name}\n{nodes}\n  {edges}\n  {told}\n"
            f"{self.history.text()}\n{wrong}"
        )


def simulate(seed: int, plan: Plan | None = None, story: Story | None = None) -> Result:
    """Run a seed's story with these faults."""
    world = World(story or draw(seed), plan or Plan(), seed)
    with structlog.testing.capture_logs():
        seconds, calls = run(_live(world))
    return Result(
        world.story,
        world.plan,
        seed,
        tuple(world.found),
        calls,
        world.history.digest(),
        seconds,
        world.repairs,
        world.history,
        tuple(world.struck),
        world.calls,
        world.facts.stale_reads,
    )


async def is_over(world: World) -> bool:
    """Let a little time pass; whether nothing is left to happen, and nothing happens in the time of grace."""
    await asyncio.sleep(0.5)
    if not settled(world):
        return False
    world.calls_until_over = world.calls
    await asyncio.sleep(GRACE_S)
    return settled(world)


async def _live(world: World) -> tuple[float, int]:
    world.start()
    while not await is_over(world):
        if (
            world.now > max(world.last_fault_s, world.plan.storm_s, world.story.late_s) + PATIENCE_S
            or world.history.defects
            or world.calls > MOST_CALLS
        ):
            break
    seconds, calls = world.now, world.calls_until_over or world.calls
    world.found = violations(world)
    await world.close()
    world.found += [f"a task ended with {error!r}" for error in world.failures()]
    return seconds, calls


def single_faults(calls: int) -> Iterator[Plan]:
    """Every plan of one fault at one of so many calls."""
    for call in range(1, calls + 1):
        for fault in (*CALL_FAULTS, *WORLD_FAULTS):
            yield Plan(single=(At(call, fault),))


def sampled_single_faults(seed: int, count: int) -> list[Plan]:
    """So many of a seed's plans of one fault; its calls are counted in a simulation without any."""
    plans = list(single_faults(simulate(seed).calls))
    return random.Random(f"single {seed}").sample(plans, min(count, len(plans)))  # noqa: S311

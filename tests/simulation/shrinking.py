"""Shrinking: the smallest part of a failing simulation that still fails, for people to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from tests.simulation.faults import Plan
from tests.simulation.simulation import Result, simulate
from tests.simulation.story import Story, draw

T = TypeVar("T")
TRIES: Final = 400
"""Simulations that shrinking may cost."""


class Shrinker:
    """Leaves out of a failing simulation what it fails without."""

    def __init__(self, seed: int, plan: Plan, story: Story | None = None, tries: int = TRIES) -> None:
        """Args: the simulation, and how many simulations this may cost."""
        self.tries = 0
        self._most = tries
        self.without: list[str] = []
        self._seed = seed
        self._story = story or draw(seed)
        self.best = self._run(plan, self._story)

    def shrink(self) -> Result:
        """The smallest failing simulation found; the given one if it does not fail."""
        if not self.best.violations:
            return self.best
        self._number_faults()
        for name, less in self._simpler_stories():
            if self._attempt(self.best.plan, less):
                self._story = less
                self.without.append(name)
        self._attempt(replace(self.best.plan, lag_s=0.0), self._story)
        self._attempt(replace(self.best.plan, skew_s=0.0), self._story)
        self._attempt(replace(self.best.plan, storm_s=0.0), self._story)
        fewest(self.best.plan.single, lambda part: self._attempt(self._with(part), self._story))
        return self.best

    def _number_faults(self) -> None:
        """A storm's faults, as a list of numbered ones: the same history, and parts of it can be left out."""
        plan = self.best.plan
        if plan.rate:
            self._attempt(replace(plan, single=self.best.struck, rate=0.0), self._story)

    def _with(self, faults: Sequence[object]) -> Plan:
        return replace(self.best.plan, single=tuple(faults))  # type: ignore[arg-type]

    def _simpler_stories(self) -> Iterator[tuple[str, Story]]:
        for act in self._story.acts:
            yield act.verb, replace(self._story, acts=tuple(a for a in self._story.acts if a is not act))
        if self._story.strangers:
            yield "strangers", replace(self._story, strangers=0)
        if self._story.indecision:
            yield "indecision", replace(self._story, indecision=False)

    def _run(self, plan: Plan, story: Story) -> Result:
        self.tries += 1
        return simulate(self._seed, plan, story)

    def _attempt(self, plan: Plan, story: Story) -> bool:
        if self.tries >= self._most or (plan == self.best.plan and story == self._story):
            return False
        result = self._run(plan, story)
        if result.violations:
            self.best = result
        return bool(result.violations)


def fewest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """A part of the items that fails and of which no single item can be left out (delta debugging)."""
    size = max(len(items) // 2, 1)
    while items:
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        for number in range(len(parts)):
            rest = [item for other, part in enumerate(parts) if other != number for item in part]
            if fails(rest):
                items = rest
                break
        else:
            if size == 1:
                return items
            size = max(size // 2, 1)
            continue
        size = min(size, max(len(items), 1))
    return items


def without(story: Story, names: Sequence[str]) -> Story:
    """A story without some of what shrinking may leave out."""
    story = replace(story, acts=tuple(act for act in story.acts if act.verb not in names))
    if "strangers" in names:
        story = replace(story, strangers=0)
    return replace(story, indecision=False) if "indecision" in names else story

"""The families of stories, and which of them a numbered schedule tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.simulation.batch_stories import draw_children
from tests.simulation.loop_stories import draw_loops
from tests.simulation.rare_stories import draw_busy, draw_editions, draw_late_owner, draw_long_pause
from tests.simulation.story import Story, draw

FAMILIES: Final[Mapping[str, Callable[[int], Story]]] = {
    "graph": draw,
    "children": draw_children,
    "loops": draw_loops,
    "busy": draw_busy,
    "editions": draw_editions,
    "long pause": draw_long_pause,
    "late owner": draw_late_owner,
}
SHARES: Final = ("graph", "children", "graph", "loops", "graph")
"""Blocks of schedules take turns."""
BLOCK: Final = 10


def family_of(number: int) -> str:
    """The family of a schedule's story."""
    return SHARES[number // BLOCK % len(SHARES)]


def told_by(number: int, seed: int) -> Story:
    """The story of this seed, of the family of this schedule."""
    return FAMILIES[family_of(number)](seed)

"""Stories for what is rare in others: a long busy branch, two editions of a blueprint, a long pause."""

from __future__ import annotations

import random
from typing import Any, Final

from tests.simulation.story import Act, Story, Told

from flowcraft.blueprint import Blueprint

BUSY_S: Final = 3000.0
"""How long one branch is busy: workers touch its run all that time, so that it never looks stalled."""
PAUSE_S: Final = 900.0


def draw_busy(seed: int) -> Story:
    """One branch is busy for most of an hour, while others go from node to node."""
    rng = random.Random(f"busy {seed}")  # noqa: S311
    branches = [f"{letter}1 {letter}2 {letter}3".split() for letter in "bcd"[: rng.randint(1, 3)]]
    takes_s = {"a": 0.0, "long": BUSY_S}
    takes_s |= {key: rng.choice([0.0, 1.0, 5.0]) for branch in branches for key in branch}
    ways = [("a", "long")]
    for branch in branches:
        ways += zip(["a", *branch[:-1]], branch, strict=True)
    return Story(
        f"busy for {BUSY_S:.0f} s beside {len(branches)} branches",
        _blueprint(takes_s, ways),
        _all_run(takes_s),
        {},
        busy=("long",),
    )


def draw_editions(seed: int) -> Story:
    """Two workers at least, and every second one has a newer edition of the blueprint."""
    rng = random.Random(f"editions {seed}")  # noqa: S311
    takes_s = {key: rng.choice([0.0, 0.1, 1.0]) for key in "abcde"}
    ways = [("a", "c"), ("b", "c"), ("b", "d"), ("c", "e")]
    return Story(
        "two editions of a blueprint, started by hand",
        _blueprint(takes_s, ways),
        _all_run(takes_s),
        {},
        by_hand=True,
        newer=_blueprint(takes_s, ways, version="2"),
    )


def draw_long_pause(seed: int) -> Story:
    """A run is paused while its first node works, and cancelled before it goes on."""
    rng = random.Random(f"pause {seed}")  # noqa: S311
    takes_s = {"a": 20.0, "p": 0.0, "q": 0.0} | {f"n{number}": 0.0 for number in range(rng.randint(4, 8))}
    ways = [("a", key) for key in takes_s if key.startswith("n")]
    acts = (Act("suspend", rng.uniform(2.0, 15.0), PAUSE_S), Act("cancel", rng.uniform(30.0, 600.0)))
    return Story("cancelled in a long pause", _blueprint(takes_s, ways), _all_run(takes_s), {}, acts)


def draw_late_owner(seed: int) -> Story:
    """A node that fails, is tried again after a while, and then makes others."""
    rng = random.Random(f"late owner {seed}")  # noqa: S311
    made = [
        {"id": str(number), "uses": "work", "params": {"takes_s": rng.choice([0.0, 1.0]), "opaque": True}}
        for number in range(rng.randint(2, 4))
    ]
    params = {"takes_s": 0.0, "makes": made, "gives": "m!", "fails": 1}
    config = {"maxRetries": 3, "retryDelay": 9000}
    last = {"id": "z", "uses": "work", "params": {"takes_s": 0.0, "opaque": True}}
    blueprint = Blueprint.from_dict(
        {
            "id": "story",
            "nodes": [{"id": "m", "uses": "work", "params": params, "config": config}, last],
            "edges": [{"source": "m", "target": "z"}],
        }
    )
    keys = tuple(f"m[{node['id']}]" for node in made)
    told = {key: Told("ran", f"{key}!") for key in ("m", "z", *keys)}
    return Story("nodes made after a retry", blueprint, told, {}, families={"m": keys})


def _all_run(takes_s: dict[str, float]) -> dict[str, Told]:
    return {key: Told("ran", f"{key}!") for key in takes_s}


def _blueprint(takes_s: dict[str, float], ways: list[Any], version: str = "1") -> Blueprint:
    nodes = [
        {"id": key, "uses": "work", "params": {"takes_s": seconds, "opaque": True}}
        for key, seconds in takes_s.items()
    ]
    edges = [{"source": source, "target": target} for source, target in ways]
    return Blueprint.from_dict(
        {"id": "story", "metadata": {"version": version}, "nodes": nodes, "edges": edges}
    )

"""Stories with loops: random structured programs, whose meaning is read off their structure."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

from tests.simulation.story import Act, Story, Told, Verb
from tests.unit.engine.loop_programs import Program, program

from flowcraft.blueprint import Blueprint
from flowcraft.engine.derivation import resolve
from flowcraft.engine.keys import NodeKey
from flowcraft.records import NodeRecord

MAX_KEYS: Final = 30
"""Node keys that are executed; a history of more is long to read."""


def draw_loops(seed: int) -> Story:
    """The story of a seed."""
    rng = random.Random(f"loops {seed}")  # noqa: S311
    while True:
        drawn = program(rng.getrandbits(32), depth=3, max_nodes=14)
        if drawn.plan.loops and len(drawn.meaning()) <= MAX_KEYS:
            break
    told = _told(drawn)
    actions = {key: drawn.action(key) for key, one in told.items() if one.state == "ran"}
    nodes: list[dict[str, Any]] = []
    for node in drawn.plan.blueprint.nodes:
        own = {
            key: action for key, action in actions.items() if NodeKey.parse(key).node == node.id and action
        }
        params = {"takes_s": rng.choices([0.0, 0.1, 1.0], [6, 2, 1])[0], "opaque": True, "actions": own}
        nodes.append({**node.to_dict(), "uses": "work", "params": params})
    document = drawn.plan.blueprint.to_dict()
    blueprint = Blueprint.from_dict({**document, "id": "story", "nodes": nodes, "metadata": {"version": "1"}})
    acts = _acts(rng)
    name = (
        f"loops at {', '.join(drawn.plan.loops)}{''.join(f', {a.verb} at {a.after_s:.1f} s' for a in acts)}"
    )
    story = Story(name, blueprint, told, {}, acts)
    return replace(story, by_hand=rng.random() < 0.1, strangers=1 if rng.random() < 0.1 else 0)


def _told(drawn: Program) -> dict[str, Told]:
    """What becomes of each node key: those of the meaning run, and dead are all others of the same rounds."""
    runs = set(drawn.meaning())
    told = {key: Told("ran", f"{key}!") for key in runs}
    records = {
        key: NodeRecord(key, NodeKey.parse(key).node, "completed", taken=drawn.taken(key)) for key in runs
    }
    resolution = resolve(drawn.plan, records)
    if resolution.ready or not resolution.ended:
        raise AssertionError(f"program {drawn.seed} is not over: {resolution.ready} may run")
    return told | {key: Told("skipped") for key in resolution.skipped}


def _acts(rng: random.Random) -> tuple[Act, ...]:
    chances: dict[Verb, float] = {"cancel": 0.05, "suspend": 0.15, "start again": 0.1, "stop a worker": 0.15}
    return tuple(
        Act(verb, rng.uniform(0.0, 8.0), rng.choice([0.02, 0.5, 5.0]))
        for verb, chance in chances.items()
        if rng.random() < chance
    )

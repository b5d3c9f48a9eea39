"""Nodes read outputs from the context: what is read is what was given, whatever is slow, stale or gone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.simulation.faults import Plan, storm
from tests.simulation.simulation import simulate
from tests.simulation.story import Story, draw


def reading_outputs(story: Story) -> Story:
    """The story, its nodes reading the outputs of the nodes whose context keys they read."""
    nodes = tuple(
        replace(node, params={**node.params, "outputs": True}) if "reads" in node.params else node
        for node in story.blueprint.nodes
    )
    return replace(story, blueprint=replace(story.blueprint, nodes=nodes), newer=None)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_is_what_was_given(seed: int) -> None:
    lagging, stormy = Plan(lag_s=2.0), storm(seed)
    for plan in (lagging, stormy):
        result = simulate(seed, plan, reading_outputs(draw(seed)))
        assert result.violations == (), str(result)


def test_most_stories_read_some() -> None:
    stories = [reading_outputs(draw(seed)) for seed in range(12)]
    assert sum(any("outputs" in node.params for node in story.blueprint.nodes) for story in stories) >= 6

"""The workflows that are measured have the shape that their names say."""

from __future__ import annotations

import pytest
from benchmarks.laps import Load, keep_busy
from benchmarks.workflows import WORKFLOWS, app

from flowcraft import analyze_blueprint


@pytest.mark.parametrize(("name", "nodes"), [("linear5", 5), ("fan8", 10), ("wide1000", 1002)])
def test_shapes(name: str, nodes: int) -> None:
    workflow = WORKFLOWS[name]
    blueprint = app.options.blueprints[name]
    assert workflow.nodes == len(blueprint.nodes) == nodes
    assert tuple(analyze_blueprint(blueprint).start_node_ids) == (workflow.first,)
    assert {node for node, following in workflow.following.items() if not following} == set(
        analyze_blueprint(blueprint).terminal_node_ids
    )


async def test_a_load_runs_all_its_runs_and_no_more_at_once_than_it_says() -> None:
    at_once = most = ended = 0

    async def run() -> None:
        nonlocal at_once, most, ended
        at_once += 1
        most = max(most, at_once)
        at_once -= 1
        ended += 1

    await keep_busy(Load("linear5", 7, 3), run)
    assert (ended, at_once) == (7, 0)
    assert most <= 3

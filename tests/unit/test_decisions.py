"""What is told of decisions whose action no edge asks for."""

from __future__ import annotations

import pytest

from flowcraft.blueprint import Blueprint
from flowcraft.linting.decisions import misspelt_action, untaken


def blueprint(*actions: str | None) -> Blueprint:
    edges = [{"source": "ask", "target": f"n{place}", "action": name} for place, name in enumerate(actions)]
    nodes = [{"id": f"n{place}", "uses": "step"} for place in range(len(actions))]
    return Blueprint.from_dict(
        {"id": "asked", "nodes": [{"id": "ask", "uses": "wait"}, *nodes], "edges": edges}
    )


def test_an_action_that_no_edge_asks_for_is_told_with_those_that_edges_ask_for() -> None:
    told = untaken(blueprint("yes", "no"), "ask", "maybe")
    assert told is not None
    assert "'maybe'" in told
    assert "no, yes" in told


def test_no_action_is_told_where_every_edge_asks_for_one() -> None:
    told = untaken(blueprint("yes"), "ask", None)
    assert told is not None
    assert told.startswith("without an action")


@pytest.mark.parametrize(
    ("actions", "given"), [(("yes", "no"), "no"), (("yes", None), "maybe"), ((None,), None), ((), "any")]
)
def test_nothing_is_told_where_an_edge_may_be_taken_or_none_is_drawn(
    actions: tuple[str | None, ...], given: str | None
) -> None:
    assert untaken(blueprint(*actions), "ask", given) is None


def test_an_action_that_is_nearly_one_that_an_edge_asks_for_is_told_with_it() -> None:
    told = misspelt_action(blueprint("approved", "refused"), "ask", "aproved")
    assert told == "no edge of ask asks for action 'aproved'; did you mean 'approved'?"


@pytest.mark.parametrize("given", [None, "approved", "later"])
def test_an_action_that_may_be_meant_is_taken_as_it_is(given: str | None) -> None:
    assert misspelt_action(blueprint("approved", "refused"), "ask", given) is None

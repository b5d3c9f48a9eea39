"""Fallbacks with edges of their own, as the original's guide draws them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.parity.conftest import Both
from tests.parity.test_rules import edge

ECHO: dict[str, Any] = {"output": "input"}
FAILS = {"fails": 1, "config": {"fallback": "f1"}}


def test_what_is_behind_a_node_and_its_fallback_gets_what_the_fallback_gave(both: Both) -> None:
    edges = [edge("n1", "n2"), edge("f1", "n2"), edge("n2", "n3")]
    ours, theirs = both({"n1": FAILS, "f1": {}, "n2": ECHO, "n3": ECHO}, *edges)
    assert ours.status == theirs.status == "completed"
    assert ours.calls["n2"] == theirs.calls["n2"] == ["f1"]
    assert ours.calls["n3"] == theirs.calls["n3"] == ["f1"]


@pytest.mark.parametrize("action", ["yes", "no", None])
def test_the_edges_of_both_are_chosen_from_by_what_the_fallback_gave(both: Both, action: str | None) -> None:
    nodes = {"n1": FAILS, "f1": {"action": action}, "n2": ECHO, "n3": {}, "n4": {}, "n5": {}}
    edges = [
        edge("f1", "n2", action="yes", transform="input.length"),
        edge("n1", "n3", action="yes"),
        edge("f1", "n4", action="no"),
        edge("n1", "n5"),
    ]
    ours, theirs = both(nodes, *edges)
    assert ours.calls.keys() == theirs.calls.keys()
    if action == "yes":
        assert ours.calls["n2"] == theirs.calls["n2"] == [2]


def test_fallback_not_needed(both: Both) -> None:
    edges = [edge("n1", "n2"), edge("f1", "n2"), edge("f1", "n3"), edge("n2", "n4"), edge("n3", "n4")]
    fine = {"n1": {"config": {"fallback": "f1"}}, "f1": {}, "n2": ECHO, "n3": {}, "n4": ECHO}
    ours, theirs = both(fine, *edges)
    assert theirs.calls.keys() == {"n1"}  # what is behind the fallback, too, waits for it without end
    assert ours.calls == {"n1": [{}], "n2": ["n1"], "n4": ["n1"]}


def test_a_fallbacks_own_branch_runs_only_behind_it(both: Both) -> None:
    nodes = {"n0": {}, "n1": FAILS, "f1": {}, "n2": ECHO, "n3": ECHO}
    ours, theirs = both(nodes, edge("n0", "n1"), edge("f1", "n2"), edge("n2", "n3"))
    assert ours.calls["n3"] == theirs.calls["n3"] == ["f1"]
    ours, theirs = both({**nodes, "n1": {"config": {"fallback": "f1"}}}, *(
        edge("n0", "n1"), edge("f1", "n2"), edge("n2", "n3")
    ))  # fmt: skip
    assert ours.calls.keys() == theirs.calls.keys() == {"n0", "n1"}
    assert ours.status == theirs.status == "completed"

"""Which node keys a run takes over from the run that it continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.runs.continuation import adoptable, exits_before, next_id, owners
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.records import NodeRecord


def plan(edges: str, **nodes: Mapping[str, Any]) -> Plan:
    """A plan from edges like ``a>b b>a:again``."""
    pairs = [text.split(":")[0].split(">") for text in edges.split()]
    actions = [text.partition(":")[2] for text in edges.split()]
    ids = dict.fromkeys(node for pair in pairs for node in pair)
    return Plan.of(
        Blueprint.from_dict(
            {
                "id": "flow",
                "nodes": [{"id": node, "uses": "step", **nodes.get(node, {})} for node in ids],
                "edges": [
                    {"source": pair[0], "target": pair[1], **({"action": action} if action else {})}
                    for pair, action in zip(pairs, actions, strict=True)
                ],
            }
        )
    )


def records(states: str, **facts: Mapping[str, Any]) -> dict[str, NodeRecord]:
    """Records from texts like ``a b! c?``: completed, failed, awaiting; ``c-`` is skipped."""
    ends = {"!": "failed", "?": "awaiting", "-": "skipped"}
    found = {}
    for text in states.split():
        status = ends.get(text[-1], "completed")
        key = text if status == "completed" else text[:-1]
        known = {"status": status, **facts.get(key, {})}
        found[key] = NodeRecord(key, NodeKey.parse(key).node, **known)
    return found


def kept(found: Sequence[str]) -> str:
    return " ".join(found)


@pytest.mark.parametrize(
    ("edges", "states", "again", "expected"),
    [
        ("a>b b>c", "a b c!", "", "a b"),
        ("a>b b>c", "a b! c", "", "a"),
        ("a>b a>c", "a b! c", "", "a c"),
        ("a>b a>c", "a b- c!", "", "a b-"),
        ("a>b b>c", "a b? c?", "", "a"),
        ("a>b b>c", "a b c", "b", "a"),
        ("a>b b>c", "a b c", "a", ""),
        ("a>c b>c c>d", "a b! c d", "", "a"),
        ("a>c b>c c>d", "a c d", "", "a"),
    ],
    ids=str,
)
def test_what_is_kept_is_closed_under_what_comes_before(
    edges: str, states: str, again: str, expected: str
) -> None:
    found = adoptable(plan(edges), records(states), again.split())
    assert kept(found) == expected.replace("-", "")


LOOP = plan("in>head head>body body>head:again body>out:done")


@pytest.mark.parametrize(
    ("states", "again", "expected"),
    [
        ("in head#1 body#1 head#2 body#2!", "", "in head#1 body#1 head#2"),
        ("in head#1 body#1 head#2 body#2 out!", "", "in head#1 body#1 head#2 body#2"),
        ("in head#1 body#1 head#2 body#2 out", "out", "in head#1 body#1 head#2 body#2"),
        ("in head#1 body#1 head#2 body#2 out", "body", "in head#1"),
        ("in head#1 body#1 head#2 body#2 out", "body#2", "in head#1 body#1 head#2"),
        ("in head#1 body#1 head#2 body#2 out", "in", ""),
    ],
    ids=str,
)
def test_rounds_of_a_loop_that_are_done_are_kept(states: str, again: str, expected: str) -> None:
    found = records(states)
    marks = exits_before(LOOP, found)
    assert kept(adoptable(LOOP, found, again.split(), marks)) == expected


def test_what_follows_a_loop_that_may_go_on_is_not_kept() -> None:
    found = records("in head#1 body#1 head#2 body#2 out")
    assert kept(adoptable(LOOP, found)) == "in head#1 body#1 head#2 body#2"


def test_nested_loops_keep_the_rounds_before() -> None:
    nested = plan("in>o o>i i>j j>i:again j>p:done p>o:again p>out:done")
    states = "in o#1 i#1.1 j#1.1 i#1.2 j#1.2 p#1 o#2 i#2.1 j#2.1 i#2.2!"
    found = records(states)
    marks = exits_before(nested, found)
    assert kept(adoptable(nested, found, (), marks)) == "in o#1 i#1.1 j#1.1 i#1.2 j#1.2 p#1 o#2 i#2.1 j#2.1"
    assert kept(adoptable(nested, found, ["j#1.2"], marks)) == "in o#1 i#1.1 j#1.1 i#1.2"


BATCH = plan("in>scatter scatter>gather")
CHILDREN = {"count": 3, "lanes": 2}


def test_children_that_are_done_are_kept_with_their_owner_that_awaits_the_others() -> None:
    found = records(
        "in scatter? scatter[0] scatter[1]! scatter[2]",
        scatter={"kind": "children", "children": CHILDREN},
    )
    assert kept(adoptable(BATCH, found)) == "in scatter scatter[0] scatter[2]"
    assert kept(adoptable(BATCH, found, ["scatter"])) == "in"


def test_an_owner_is_kept_with_all_its_children_or_not_at_all() -> None:
    found = records("in scatter scatter[0] scatter[1] scatter[2] gather!", scatter={"children": CHILDREN})
    assert kept(adoptable(BATCH, found)) == "in scatter scatter[0] scatter[1] scatter[2]"
    assert kept(adoptable(BATCH, found, ["scatter[1]"])) == "in"


def test_who_wrote_what_was_overwritten_runs_again() -> None:
    row = plan("a>b b>c c>d")
    found = records(
        "a b c d",
        a={"wrote": ("first",), "seq": 1},
        b={"wrote": ("shared",), "seq": 2},
        c={"wrote": ("other",), "seq": 3},
        d={"wrote": ("shared",), "seq": 4},
    )
    assert kept(adoptable(row, found)) == "a b c d"
    assert kept(adoptable(row, found, ["d"])) == "a", "b's value of it is gone"
    assert owners(found.values()) == {"first": "a", "shared": "d", "other": "c"}


def test_ten_thousand_nodes_in_a_row_are_looked_at_once() -> None:
    count = 10_000
    row = plan(" ".join(f"n{number}>n{number + 1}" for number in range(count - 1)))
    found = records(" ".join(f"n{number}" for number in range(count)))
    assert len(adoptable(row, found, ["n5000"])) == 5000


def test_a_retry_of_a_retry_counts_on() -> None:
    assert next_id({"runId": "one"}) == "one-r1"
    assert next_id({"runId": "one-r1", "continues": {"generation": 1}}) == "one-r2"
    assert next_id({"runId": "one-r1"}) == "one-r1-r1", "somebody called it so"

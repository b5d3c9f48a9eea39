"""What belongs to a loop, where it begins, and what its rounds wait for."""

from __future__ import annotations

import time

import pytest

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition
from flowcraft.engine.choice import too_many_rounds
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.lookup import Known, Lookup
from flowcraft.engine.loops import Loops, find_loops
from flowcraft.engine.plan import END, Plan
from flowcraft.engine.resolution import follow
from flowcraft.records import NodeRecord


def edges_of(text: str) -> list[EdgeDefinition]:
    """``a>b:x`` is an edge with the action x."""
    edges = []
    for word in text.split():
        ends, _, action = word.partition(":")
        source, target = ends.split(">")
        edges.append(EdgeDefinition(source, target, action or None))
    return edges


def found(text: str, *chosen: str) -> Loops:
    edges = edges_of(text)
    return find_loops(
        dict.fromkeys(end for edge in edges for end in (edge.source, edge.target)), edges, chosen
    )


def plan(text: str, *, any_joins: str = "", chosen: tuple[str, ...] = ()) -> Plan:
    edges = edges_of(text)
    ids = dict.fromkeys(end for edge in edges for end in (edge.source, edge.target))
    nodes = tuple(
        NodeDefinition(n, "code", config=NodeConfig(join_strategy="any" if n in any_joins else "all"))
        for n in ids
    )
    return Plan.of(Blueprint("p", nodes, tuple(edges), {"cycleEntryPoints": list(chosen)}))


def members(loops: Loops) -> dict[str, str]:
    return {head: "".join(sorted(loop.nodes)) for head, loop in loops.by_head.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a>b b>c c>d", {}),
        ("a>b b>b:again b>c:on", {"b": "b"}),
        ("a>b b>c c>b:again c>d:on", {"b": "bc"}),
        ("a>b b>c c>b c>d:on d>e", {"b": "bc"}),
        ("a>b b>c c>b:x c>d d>b:y d>e:z", {"b": "bcd"}),
        ("a>b b>c c>d d>c:again d>b:outer d>e:on", {"b": "bcd", "c": "cd"}),
        ("a>b b>c:again c>b b>d:done", {"b": "bc"}),
        ("a>b b>c c>b:again c>d:on e>f f>e:again", {"b": "bc", "e": "ef"}),
    ],
    ids=["none", "of one", "of two", "by none", "two back edges", "nested", "while", "two"],
)
def test_loops_are_found_by_their_heads(text: str, expected: dict[str, str]) -> None:
    assert members(found(text, "e")) == expected


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("a>b b>c c>b:again c>d:on b>log", "bc log"),
        ("a>b b>c c>b:again c>d:on b>log log>more", "bc log more"),
        ("a>b b>c c>b:again c>d:on b>log a>log", "bc"),
        ("a>b b>c:ok b>d:bad c>b", "bc"),
        ("a>b b>c c>b c>d", "bcd"),
        ("a>b b>c b>e c>b:again c>d:on e>b:again e>d:on", "bced"),
        ("a>b b>c:x b>e:y c>b:again c>d:on e>b:again e>d:on", "bce"),
        ("a>b b>c c>b:again c>d:on b>x x>y y>x:again y>z:on", "bcxyz"),
    ],
    ids=[
        "what only the loop leads to",
        "and what that leads to",
        "what something else leads to",
        "an exit by its action",
        "without actions",
        "beside a branch that may turn it",
        "instead of a branch that may turn it",
        "a loop that only the loop leads to",
    ],
)
def test_what_only_a_loop_leads_to_belongs_to_it_unless_the_loop_is_over_then(text: str, inside: str) -> None:
    expected = set(inside.replace("log", "").replace("more", "").replace(" ", "")) | (
        set(inside.split()) & {"log", "more"}
    )
    assert found(text).by_head["b"].nodes == expected


def test_a_cycle_begins_where_it_is_entered_or_where_the_blueprint_says() -> None:
    assert found("a>b b>a").unclear[0].why == "no entry"
    assert members(found("a>b b>a", "b")) == {"b": "ab"}
    assert found("s>a s>b a>b b>a").unclear[0].candidates == ("a", "b")
    several = found("s>a s>b a>b b>a", "b")
    assert (members(several), several.unclear) == ({"b": "ab"}, ())
    with pytest.raises(ValueError, match="several entries: a, b"):
        plan("s>a s>b a>b b>a")


def test_a_run_begins_with_the_head_of_a_cycle_that_nothing_leads_to() -> None:
    chosen = plan("a>b b>a:again b>c:on", chosen=("a",))
    assert chosen.start_keys() == ("a#1",)
    assert [chosen.placed(key) for key in ("a", "a#2", "c")] == ["a#1", "a#2", "c"]
    assert [chosen.knows(key) for key in ("a", "a#1", "a#1.1", "c", "c#1", "x")] == [0, 1, 0, 1, 0, 0]


def test_a_loop_is_tight_where_its_turning_node_tells_all() -> None:
    assert plan("a>b b>c c>b:again c>d:on").loops["b"].tight
    assert plan("a>b b>c c>b:again c>d:on c>e:off").loops["b"].tight
    assert not plan("a>b b>c c>b:again c>d:on b>x").loops["b"].tight, "x has to be waited for"
    assert not plan("a>b b>c:on b>d:out c>b:again c>d:on").loops["b"].tight, "b may leave, too"
    assert not plan("a>b b>b:again").loops["b"].tight, "nothing follows it"
    assert not plan("a>b b>c b>d c>e d>e e>b:again e>f:on", any_joins="e").loops["b"].tight, "e waits for one"


def test_a_tight_loop_costs_no_join_and_no_round_of_its_own() -> None:
    tight = plan("a>b b>c c>b:again c>d:on")
    assert tight.end_sources == ("d",)
    assert follow(tight, "c#7", (2,)).ready == ("b#8",)
    assert follow(tight, "c#7", (3,)).ready == ("d",)
    assert follow(tight, "c#7", ()).skipped == ("d",)
    assert not any(follow(tight, "c#7", taken).joins for taken in ((2,), (3,), ()))


def test_a_round_that_takes_more_is_closed_by_a_join_of_the_same_size_each_time() -> None:
    wide = plan("a>b b>c c>b:again c>d:on b>log")
    assert wide.end_sources == ("d", "[b]")
    first, later = (follow(wide, f"log#{number}", ()).joins for number in (1, 900))
    assert [(join.join, join.expected) for join in (*first, *later)] == [("round:b#1", 2), ("round:b#900", 3)]
    (turn,) = follow(wide, "c#900", (2,)).joins
    assert (turn.join, dict(turn.states)) == ("round:b#900", {"turn]": True})
    assert [join.join for join in follow(wide, "d", ()).joins] == [END]


def test_the_guard_counts_the_rounds_of_the_loop_that_would_turn() -> None:
    nested = plan("a>b b>c c>d d>c:again d>b:outer d>e:on")
    assert too_many_rounds(nested, "d#9999.9999", (3,)) is None
    assert too_many_rounds(nested, "d#9999.10000", (3,)) is not None
    assert too_many_rounds(nested, "d#9999.10000", (4,)) is None
    assert too_many_rounds(nested, "d#10000.1", (4,)) is not None
    assert too_many_rounds(nested, "d#10000.10000", (5,)) is None


def test_a_name_that_has_not_run_for_long_is_looked_for_in_few_requests() -> None:
    looping = plan("a>b b>c:x b>d:y c>e d>e e>b:again e>f:on")
    records = {"c#1": NodeRecord("c#1", "c", "completed", output="then")}
    known, requests = Known(), 0
    lookup = Lookup(looping, NodeKey("e", (1000,)), ["c"], known, edges=False)
    while (ask := lookup.ask()) is not None:
        requests += 1
        known.answer(ask, records, {})
    assert lookup.seen.records["c"].output == "then"
    assert requests < 25


def test_thousands_of_loops_are_planned_in_a_moment() -> None:
    chain = [EdgeDefinition(f"n{number}", f"n{number + 1}") for number in range(3000)]
    back = [EdgeDefinition(f"n{number + 4}", f"n{number}", "again") for number in range(0, 2990, 10)]
    nodes = tuple(NodeDefinition(f"n{number}", "code") for number in range(3001))
    began = time.process_time()
    planned = Plan.of(Blueprint("many", nodes, (*chain, *back), {"cycleEntryPoints": ["n0"]}))
    assert len(planned.loops) == 299
    assert time.process_time() - began < 2

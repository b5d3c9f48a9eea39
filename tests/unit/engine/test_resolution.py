"""Deciding from facts: all at once with ``resolve``, and one record at a time with ``follow`` and joins."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.engine.programs import Program, meaning, outcome, programs, skipped

from flowcraft.blueprint import Blueprint, EdgeDefinition, NodeConfig, NodeDefinition
from flowcraft.engine.derivation import resolve
from flowcraft.engine.evidence import predecessors, recorded_states
from flowcraft.engine.plan import END, Plan
from flowcraft.engine.resolution import (
    Join,
    JoinStates,
    Wave,
    follow,
    join_state,
    skip_path,
)
from flowcraft.records import NodeRecord

seeds = st.integers(0, 2**32 - 1)


class Follower:
    """Carries a program out with waves and joins alone, one event at a time in any order."""

    def __init__(self, program: Program, seed: int) -> None:
        self.program = program
        self.rng = random.Random(seed)  # noqa: S311
        self.records: dict[str, NodeRecord] = {}
        self.executed: list[str] = []
        self.ends = 0
        self._joins: dict[str, dict[str, bool]] = {}
        self._fired: set[str] = set()
        self._events: list[Callable[[], None]] = [self._running(node_id) for node_id in program.plan.start]

    def step(self) -> bool:
        """Let one thing happen; False when nothing is left to happen."""
        if not self._events:
            return False
        self._events.pop(self.rng.randrange(len(self._events)))()
        return True

    def _running(self, node_id: str) -> Callable[[], None]:
        def complete() -> None:
            self.executed.append(node_id)
            record = self.program.record(node_id)
            self.records[node_id] = record
            self._spread(follow(self.program.plan, node_id, record.taken), ())

        return complete

    def _spread(self, wave: Wave, first_skipped: tuple[str, ...]) -> None:
        for node_id in (*first_skipped, *wave.skipped):
            assert node_id not in self.records
            self.records[node_id] = skipped(node_id)
        self._events.extend(self._running(node_id) for node_id in wave.ready)
        self._events.extend(self._arriving(join) for join in wave.joins)
        self.ends += wave.ended

    def _arriving(self, join: JoinStates) -> Callable[[], None]:
        def arrive() -> None:
            states = self._joins.setdefault(join.join, {})
            assert not states.keys() & join.states.keys(), "an edge arrived twice"
            states.update(join.states)
            state = join_state(states, join.expected, any_join=join.any_join)
            if state is Join.OPEN or join.join in self._fired:
                return
            self._fired.add(join.join)
            if not join.node:
                self.ends += 1
            elif state is Join.READY:
                self._events.append(self._running(join.node))
            else:
                keys, wave = skip_path(self.program.plan, join.node)
                self._spread(wave, keys[:1])

        return arrive


@given(programs(), seeds)
@settings(max_examples=120, deadline=None)
def test_in_any_order_the_same_nodes_run_and_are_skipped_and_the_run_ends_once(
    program: Program, seed: int
) -> None:
    follower = Follower(program, seed)
    while follower.step():
        if follower.ends:
            assert set(follower.records) == set(program.plan.nodes), "ended before every node was resolved"
    ran, dead = outcome(program)
    assert sorted(follower.executed) == sorted(ran)
    assert {key for key, record in follower.records.items() if record.status == "skipped"} == dead
    assert follower.ends == 1


@given(programs(), seeds)
@settings(max_examples=120, deadline=None)
def test_at_every_moment_the_facts_imply_what_the_definition_says(program: Program, seed: int) -> None:
    follower = Follower(program, seed)
    going = True
    while going:
        implied = meaning(program.plan, follower.records)
        resolution = resolve(program.plan, follower.records)
        assert frozenset(resolution.ready) == implied.ready
        assert frozenset(resolution.skipped) == implied.dead
        assert resolution.ended == implied.ended
        assert resolution.total == len(program.plan.nodes)
        assert resolution.resolved == len(follower.records) + len(implied.dead)
        going = follower.step()
    assert resolve(program.plan, follower.records).ended


@given(programs(), seeds)
@settings(max_examples=80, deadline=None)
def test_facts_alone_carry_a_run_to_its_end(program: Program, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    records: dict[str, NodeRecord] = {}
    while not (resolution := resolve(program.plan, records)).ended:
        assert resolution.ready or resolution.skipped
        records.update((key, skipped(key)) for key in resolution.skipped if rng.random() < 0.7)
        for key in rng.sample(resolution.ready, rng.randint(0, len(resolution.ready))):
            records[key] = program.record(key)
    ran, _ = outcome(program)
    assert {key for key, record in records.items() if record.status == "completed"} == ran


@given(programs(), seeds)
@settings(max_examples=80, deadline=None)
def test_what_records_say_of_a_join_is_what_arrivals_said(program: Program, seed: int) -> None:
    follower = Follower(program, seed)
    while follower.step():
        pass
    for node_id, record in follower.records.items():
        for join in follow(program.plan, node_id, record.taken).joins:
            known = {key: follower.records[key] for key in predecessors(program.plan, join)}
            states = recorded_states(program.plan, join, known)
            assert len(states) == join.expected
            if join.node:
                assert join.states.items() <= states.items()
            assert join.edge in states


def test_a_wave_names_its_arrivals_the_same_each_time() -> None:
    plan = _plan("a>b a>c b>d c>d d>e d>f")
    assert follow(plan, "a", (0,)) == follow(plan, "a", (0,))
    (join,) = follow(plan, "b", (2,)).joins
    assert (join.join, join.node, join.edge, join.expected) == ("node:d", "d", "2", 2)


def test_a_dead_path_runs_to_the_next_joins() -> None:
    plan = _plan("a>b b>c b>d c>e d>e a>f")
    wave = follow(plan, "a", (5,))
    assert wave.ready == ("f",)
    assert wave.skipped == ("b", "c", "d")
    assert {join.join: dict(join.states) for join in wave.joins} == {"node:e": {"3": False, "4": False}}
    assert not wave.ended


def test_terminals_on_a_dead_path_arrive_at_the_end_with_the_node_that_killed_them() -> None:
    plan = _plan("a>b a>c b>d")
    wave = follow(plan, "a", (1,))
    assert wave.ready == ("c",)
    assert wave.skipped == ("b", "d")
    assert [(join.join, dict(join.states), join.expected) for join in wave.joins] == [(END, {"d": False}, 2)]


def test_a_run_whose_terminals_are_all_skipped_ends() -> None:
    plan = _plan("a>b")
    assert follow(plan, "a", ()) == Wave((), ("b",), (), ended=True)
    record = NodeRecord("a", "a", "completed")
    resolution = resolve(plan, {"a": record})
    assert (resolution.skipped, resolution.ended) == (("b",), True)


def test_predecessors_of_an_any_join_hold_the_end_open() -> None:
    plan = _plan("a>c b>c", any_joins={"c"})
    assert set(plan.end_sources) == {"a", "b", "c"}
    done = {
        key: NodeRecord(key, key, "completed", taken=taken) for key, taken in {"a": (0,), "c": ()}.items()
    }
    assert not resolve(plan, done).ended


def test_awaiting_and_failed_nodes_are_told_apart() -> None:
    plan = _plan("a>c b>c")
    records = {
        "a": NodeRecord("a", "a", "awaiting", kind="wait"),
        "b": NodeRecord("b", "b", "failed", error={"type": "E", "message": "m"}),
    }
    resolution = resolve(plan, records)
    assert (resolution.awaiting, resolution.failed) == (("a",), ("b",))
    assert not resolution.ended


def test_a_failed_node_resolves_no_edge_of_a_join_and_no_end() -> None:
    plan = _plan("a>b a>c")
    records = {
        "b": NodeRecord("b", "b", "failed", error={"type": "E", "message": "m"}),
        "c": NodeRecord("c", "c", "completed"),
    }
    (end,) = follow(plan, "c", ()).joins
    assert recorded_states(plan, end, records) == {"c": True}, "the run would end as completed"
    joined = _plan("a>c b>c")
    (join,) = follow(joined, "a", (0,)).joins
    assert "1" not in recorded_states(joined, join, {"b": records["b"]})


@pytest.mark.parametrize(
    ("states", "expected", "any_join", "state"),
    [
        ({}, 2, False, Join.OPEN),
        ({"0": True}, 2, False, Join.OPEN),
        ({"0": True, "1": False}, 2, False, Join.READY),
        ({"0": False, "1": False}, 2, False, Join.DEAD),
        ({"0": True}, 2, True, Join.READY),
        ({"0": False}, 2, True, Join.OPEN),
        ({"0": False, "1": False}, 2, True, Join.DEAD),
        ({"0": True, "1": True}, 2, True, Join.READY),
    ],
)
def test_the_state_of_a_join(states: dict[str, bool], expected: int, any_join: bool, state: Join) -> None:
    assert join_state(states, expected, any_join=any_join) is state


def _chain(count: int) -> Plan:
    return _of(count, [(n, n + 1) for n in range(count - 1)])


def _wide(count: int) -> Plan:
    return _of(count, [(0, n) for n in range(1, count - 1)] + [(n, count - 1) for n in range(1, count - 1)])


def _ladder(count: int) -> Plan:
    return _of(count, [(n, m) for n in range(count) for m in (n + 1, n + 2, n + 3) if m < count])


def _parallel(count: int) -> Plan:
    return _of(count, [])


@pytest.mark.parametrize("shape", [_chain, _wide, _ladder, _parallel])
def test_ten_thousand_nodes_are_resolved_in_linear_time(shape: Callable[[int], Plan]) -> None:
    def cost(count: int) -> float:
        plan = shape(count)
        root = plan.start[0]
        dead = {root: NodeRecord(root, root, "completed")}
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            resolution = resolve(plan, dead)
            follow(plan, root, ())
            best = min(best, time.process_time() - began)
            assert len(resolution.skipped) + len(resolution.ready) + 1 == count
        return best

    small, large = cost(1_000), cost(10_000)
    assert large < 60 * max(small, 0.002), f"1,000 nodes take {small:.4f} s, 10,000 take {large:.4f} s"


def _plan(text: str, any_joins: frozenset[str] | set[str] = frozenset()) -> Plan:
    pairs = [pair.split(">") for pair in text.split()]
    ids = dict.fromkeys(node_id for pair in pairs for node_id in pair)
    nodes = tuple(
        NodeDefinition(
            node_id, "code", config=NodeConfig(join_strategy="any" if node_id in any_joins else "all")
        )
        for node_id in ids
    )
    return Plan.of(Blueprint("p", nodes, tuple(EdgeDefinition(source, target) for source, target in pairs)))


def _of(count: int, pairs: list[tuple[int, int]]) -> Plan:
    nodes = tuple(NodeDefinition(f"n{n}", "code") for n in range(count))
    return Plan.of(Blueprint("p", nodes, tuple(EdgeDefinition(f"n{a}", f"n{b}") for a, b in pairs)))


def test_a_node_named_like_the_end_is_no_end() -> None:
    plan = _plan("a>end b>end end>c")
    (join,) = follow(plan, "a", (0,)).joins
    assert (join.join, join.node, join.expected) == ("node:end", "end", 2)

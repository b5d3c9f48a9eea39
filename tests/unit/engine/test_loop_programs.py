"""Random programs with loops: in any order, what runs is what their structure says; they end once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.unit.engine.loop_programs import Program, program

from flowcraft.engine.derivation import resolve
from flowcraft.engine.evidence import evidence, recorded_states
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.marks import dead_marks, exit_marks, round_marks, taken_exits
from flowcraft.engine.resolution import Join, JoinStates, Wave, fired, follow, join_state, round_over
from flowcraft.records import NodeRecord

PER_TEST = 60


@dataclass
class Entry:
    """A join as coordination stores keep it: every arrival has a name of its own."""

    states: dict[str, bool] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    fired: bool = False


class Follower:
    """Carries a program out one event at a time, in any order, with waves, joins and marks alone."""

    def __init__(self, program: Program, seed: int) -> None:
        self.program = program
        self.plan = program.plan
        self.rng = random.Random(seed)  # noqa: S311
        self.records: dict[str, NodeRecord] = {}
        self.marks: dict[str, Any] = {}
        self.executed: list[str] = []
        self.arrivals: list[JoinStates] = []
        self.ends = 0
        self._joins: dict[str, Entry] = {}
        self._events: list[Callable[[], None]] = [self._running(key) for key in self.plan.start_keys()]

    def step(self) -> bool:
        """Let one thing happen; False when nothing is left to happen."""
        if not self._events:
            return False
        self._events.pop(self.rng.randrange(len(self._events)))()
        return True

    def _running(self, key: str) -> Callable[[], None]:
        def complete() -> None:
            assert key not in self.records, f"{key} runs twice"
            taken = self.program.taken(key)
            self.executed.append(key)
            self.records[key] = NodeRecord(key, NodeKey.parse(key).node, "completed", taken=taken)
            self.marks.update(exit_marks(self.plan, key, taken))
            self._spread(follow(self.plan, key, taken))

        return complete

    def _spread(self, wave: Wave) -> None:
        for key in wave.skipped:
            assert key not in self.records, f"{key} is skipped, and is {self.records[key].status}"
            self.records[key] = NodeRecord(key, NodeKey.parse(key).node, "skipped")
            self.marks.update(exit_marks(self.plan, key, ()))
        self._events.extend(self._running(key) for key in wave.ready)
        self._events.extend(self._arriving(join) for join in wave.joins)
        self.ends += wave.ended

    def _arriving(self, join: JoinStates) -> Callable[[], None]:
        def arrive() -> None:
            self.arrivals.append(join)
            entry = self._joins.setdefault(join.join, Entry())
            assert join.edge not in entry.names, f"two arrivals at {join.join} have the name {join.edge}"
            entry.names.add(join.edge)
            entry.states.update(
                {edge: state for edge, state in join.states.items() if edge not in entry.states}
            )
            assert len(entry.states) <= join.expected
            state = join_state(entry.states, join.expected, any_join=join.any_join)
            if state is Join.OPEN or entry.fired:
                return
            entry.fired = True
            if join.round:
                self._round_over(join, turned=state is Join.READY)
            elif join.node:
                self._spread(fired(self.plan, join, ready=state is Join.READY))
            else:
                self.ends += 1

        return arrive

    def _round_over(self, join: JoinStates, *, turned: bool) -> None:
        place = NodeKey.parse(join.round)
        loop, prefix = self.plan.loops[place.node], place.rounds[:-1]
        self.marks.update(round_marks(loop, place.rounds, turned=turned))
        taken = taken_exits(loop, prefix, self.marks)
        if not turned:
            self.marks.update(dead_marks(loop, prefix, place.rounds, taken))
        self._spread(round_over(self.plan, loop, place.rounds, turned=turned, taken_exits=taken))


def carried_out(drawn: Program, seed: int) -> Follower:
    """The program carried out in an order of the seed's."""
    follower = Follower(drawn, seed)
    resolved_at_end = None
    while follower.step():
        if follower.ends and resolved_at_end is None:
            resolved_at_end = len(follower.records)
    assert resolved_at_end == len(follower.records), "ended before every node key was resolved"
    return follower


def check_following(seed: int) -> None:
    drawn = program(seed)
    follower = carried_out(drawn, seed)
    assert sorted(follower.executed) == drawn.meaning()
    assert follower.ends == 1
    resolution = resolve(drawn.plan, follower.records)
    assert resolution.ended
    assert (resolution.ready, resolution.skipped) == ((), ())
    assert resolution.total == len(follower.records)


def check_facts(seed: int) -> None:
    """Facts alone carry a run to its end: some of what they imply happens, in any order."""
    drawn, rng = program(seed), random.Random(seed)  # noqa: S311
    records: dict[str, NodeRecord] = {}
    executed = []
    while not (resolution := resolve(drawn.plan, records)).ended:
        assert resolution.ready or resolution.skipped, "stuck"
        for key in resolution.skipped:
            if rng.random() < 0.7:
                records[key] = NodeRecord(key, NodeKey.parse(key).node, "skipped")
        for key in rng.sample(resolution.ready, rng.randint(0, len(resolution.ready))):
            executed.append(key)
            records[key] = NodeRecord(key, NodeKey.parse(key).node, "completed", taken=drawn.taken(key))
    assert sorted(executed) == drawn.meaning()


def check_moments(seed: int) -> None:
    """At any moment, facts alone lead to the same end as what is under way."""
    drawn = program(seed)
    follower = Follower(drawn, seed)
    for _ in range(random.Random(seed).randint(0, 60)):  # noqa: S311
        follower.step()
    records, executed = dict(follower.records), list(follower.executed)
    while not (resolution := resolve(drawn.plan, records)).ended:
        assert resolution.ready or resolution.skipped, "stuck"
        records.update(
            (key, NodeRecord(key, NodeKey.parse(key).node, "skipped")) for key in resolution.skipped
        )
        for key in resolution.ready:
            executed.append(key)
            records[key] = NodeRecord(key, NodeKey.parse(key).node, "completed", taken=drawn.taken(key))
    assert sorted(executed) == drawn.meaning()


def check_evidence(seed: int) -> None:
    """What records and marks say of a join is what arrivals said, and nothing lacks once all is over."""
    drawn = program(seed)
    follower = carried_out(drawn, seed)
    for join in follower.arrivals:
        wanted = evidence(drawn.plan, join)
        assert len(wanted.keys) + len(wanted.marks) <= 3 + 2 * len(drawn.plan.nodes)
        states = recorded_states(
            drawn.plan,
            join,
            {key: follower.records[key] for key in wanted.keys if key in follower.records},
            {name: follower.marks[name] for name in wanted.marks if name in follower.marks},
        )
        assert len(states) == join.expected, f"{join.join}: {states} of {join.expected}"
        assert join.states.keys() <= states.keys()
        if join.node or join.round:
            assert join.states.items() <= states.items()


@pytest.mark.parametrize("check", [check_following, check_facts, check_moments, check_evidence])
@pytest.mark.parametrize("part", range(2))
def test_random_programs_with_loops(check: Callable[[int], None], part: int) -> None:
    for seed in range(part * PER_TEST, (part + 1) * PER_TEST):
        try:
            check(seed)
        except Exception as error:
            raise AssertionError(f"program {seed}: {error}") from error

"""Every verb in every state, and two at once: what the client does is what the tables say."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.operations.asked import Ask, Seen, World, after, similar, told

from flowcraft.distributed.runs.verbs import NodeState, Outcome, RunState, Verb, ruling

T = TypeVar("T")
ASKED = [Verb.START, Verb.CANCEL, Verb.SUSPEND, Verb.RESUME, Verb.DECIDE, Verb.RETRY, Verb.RERUN, Verb.DELETE]
STATES = [
    (RunState.UNKNOWN, "", NodeState.NONE),
    (RunState.PENDING, "", NodeState.NONE),
    (RunState.RUNNING, "", NodeState.NONE),
    (RunState.AWAITING, "", NodeState.WAITING),
    (RunState.AWAITING, "good", NodeState.ANSWERED),
    (RunState.PAUSED, "", NodeState.WAITING),
    (RunState.PAUSED, "good", NodeState.ANSWERED),
    (RunState.COMPLETED, "good", NodeState.ANSWERED),
    (RunState.FAILED, "bad", NodeState.ANSWERED),
    (RunState.CANCELLED, "", NodeState.WAITING),
    (RunState.CANCELLED, "good", NodeState.ANSWERED),
]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as opened:
        yield opened


@pytest.mark.parametrize(("state", "answer", "node"), STATES)
async def test_each_verb_does_what_the_table_says(
    world: World, state: RunState, answer: str, node: NodeState
) -> None:
    for ask in [*map(Ask, ASKED), Ask(Verb.DECIDE, "bad")]:
        run_id = f"{ask.verb}-{ask.answer}"
        await world.bring(run_id, state, answer)
        before = await world.seen(run_id)
        assert (before.run, before.node) == (state, node)

        got = await world.do(run_id, ask)

        expected, then = after(ask, before)
        assert told(got) == told(expected), ask
        if ask.verb is Verb.DELETE:
            world.clock.ahead += timedelta(seconds=61)  # what ended just now is deleted a minute later
            await world.reconciler.run()
        assert similar(await world.seen(run_id), then), ask


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.UNKNOWN])
@pytest.mark.parametrize("verb", [Verb.DEADLINE, Verb.EXPIRE])
async def test_the_clock_does_what_the_table_says(world: World, state: RunState, verb: Verb) -> None:
    answer = {RunState.COMPLETED: "good", RunState.FAILED: "bad"}.get(state, "")
    await world.bring("one", state, answer)
    before = await world.seen("one")
    told_by_clock = ruling(verb, state)

    world.clock.ahead += timedelta(hours=1.5 if verb is Verb.DEADLINE else 2.5)
    if verb is Verb.EXPIRE and not state.ended:
        return  # its deadline comes first; that no active run is deleted is seen with retention
    await world.reconciler.run()

    assert (await world.seen("one")).run is (told_by_clock.becomes or before.run)


@pytest.mark.parametrize(("state", "answer", "node"), STATES)
async def test_two_verbs_at_once_are_one_after_the_other(
    world: World, state: RunState, answer: str, node: NodeState
) -> None:
    asks = [*map(Ask, ASKED), Ask(Verb.DECIDE, "bad")]
    for number, (first, second) in enumerate(itertools.combinations_with_replacement(asks, 2)):
        run_id = f"run-{number}"
        await world.bring(run_id, state, answer)
        before = await world.seen(run_id)
        assert before.node is node

        got = list(await asyncio.gather(world.do(run_id, first), world.do(run_id, second)))

        if Verb.DELETE in (first.verb, second.verb):
            world.clock.ahead += timedelta(seconds=61)
            await world.reconciler.run()
        assert_explained((first, second), before, got, await world.seen(run_id))


def assert_explained(asks: tuple[Ask, Ask], before: Seen, got: list[Outcome], then: Seen) -> None:
    """Some order of the two explains what both callers were told, and what is there now."""
    for order in ((0, 1), (1, 0)):
        wanted, state = [Outcome.NOTHING, Outcome.NOTHING], before
        for place in order:
            wanted[place], state = after(asks[place], state)
        if list(map(told, got)) == list(map(told, wanted)) and similar(then, state):
            return
    raise AssertionError(f"{asks} in {before}: {got}, then {then}: no order explains it")


ASKS = st.builds(Ask, st.sampled_from(ASKED), st.sampled_from(["good", "bad"]))
SLOTS = st.sampled_from([0, 1])


class EveryVerb(RuleBasedStateMachine):
    """Two runs, asked anything at any time; workers work only when the machine lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World()
        self.fresh = itertools.count()
        self.runs = ["run-a", "run-b"]
        self.ended: dict[str, RunState] = {}
        self.run(self.world.__aenter__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.world.__aexit__())
        self.runner.close()

    @initialize(first=st.sampled_from(STATES), second=st.sampled_from(STATES))
    def two_runs(
        self, first: tuple[RunState, str, NodeState], second: tuple[RunState, str, NodeState]
    ) -> None:
        self.run(self.world.bring(self.runs[0], *first[:2]))
        self.run(self.world.bring(self.runs[1], *second[:2]))

    @rule(slot=SLOTS, where=st.sampled_from(STATES))
    def another_run(self, slot: int, where: tuple[RunState, str, NodeState]) -> None:
        self.runs[slot] = f"run-{next(self.fresh)}"
        self.run(self.world.bring(self.runs[slot], *where[:2]))

    @rule(slot=SLOTS, ask=ASKS)
    def one_verb(self, slot: int, ask: Ask) -> None:
        run_id = self.runs[slot]
        before = self.run(self.world.seen(run_id))
        expected, then = after(ask, before)
        assert told(self.run(self.world.do(run_id, ask))) == told(expected), (ask, before)
        if ask.verb is Verb.DELETE and before.run.ended:
            self._let_it_go()
        assert similar(self.run(self.world.seen(run_id)), then), (ask, before, then)

    @rule(slot=SLOTS, first=ASKS, second=ASKS)
    def two_verbs_at_once(self, slot: int, first: Ask, second: Ask) -> None:
        run_id = self.runs[slot]
        before = self.run(self.world.seen(run_id))

        async def both() -> list[Outcome]:
            world = self.world
            return list(await asyncio.gather(world.do(run_id, first), world.do(run_id, second)))

        got = self.run(both())
        if Verb.DELETE in (first.verb, second.verb):
            self._let_it_go()
        assert_explained((first, second), before, got, self.run(self.world.seen(run_id)))

    @rule()
    def workers_work(self) -> None:
        self.run(self.world.work())

    @rule(slot=SLOTS, first=ASKS, second=ASKS)
    def two_verbs_while_workers_work(self, slot: int, first: Ask, second: Ask) -> None:
        world, run_id = self.world, self.runs[slot]
        self.run(world.work(world.do(run_id, first), world.do(run_id, second)))

    @rule(hours=st.sampled_from([0.5, 1.5, 3.0]))
    def time_passes(self, hours: float) -> None:
        self.world.clock.ahead += timedelta(hours=hours)
        now = self.world.clock.now()
        expected: dict[str, RunState] = {}
        for run_id in self.runs:
            seen = self.run(self.world.seen(run_id))
            header = {} if seen.run is RunState.UNKNOWN else dict(self.run(self.world.client.header(run_id)))
            for verb, name in ((Verb.DEADLINE, "deadlineAt"), (Verb.EXPIRE, "expiresAt")):
                told_by_clock = ruling(verb, seen.run)
                if (
                    name in header
                    and datetime.fromisoformat(str(header[name])) <= now
                    and told_by_clock.becomes
                ):
                    expected[run_id] = told_by_clock.becomes
        self.run(self.world.reconciler.run())
        for run_id, state in expected.items():
            assert self.run(self.world.seen(run_id)).run is state

    @invariant()
    def what_ended_stays_as_it_is(self) -> None:
        for run_id in self.runs:
            state = self.run(self.world.seen(run_id)).run
            assert state in (self.ended.get(run_id, state), RunState.UNKNOWN) or run_id not in self.ended
            if state.ended:
                self.ended[run_id] = state
            elif state is RunState.UNKNOWN:
                self.ended.pop(run_id, None)  # a run of this id may be started anew

    @invariant()
    def no_answer_is_used_twice(self) -> None:
        once = [key for key in self.world.executed if "-again-" not in key]
        assert all(once.count(key) <= 2 for key in once), "once, and once more by a retry of what failed"

    def _let_it_go(self) -> None:
        """What ended just now is deleted a minute later."""
        self.world.clock.ahead += timedelta(seconds=61)
        self.run(self.world.reconciler.run())


TestEveryVerb = EveryVerb.TestCase
TestEveryVerb.settings = settings(
    max_examples=30,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    print_blob=True,
    phases=[Phase.explicit, Phase.generate],  # fifteen steps can be read, and shrinking takes minutes
)

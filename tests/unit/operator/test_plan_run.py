from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_api.conditions import Condition, condition_of
from flowcraft_api.durations import Duration
from flowcraft_api.run_status import (
    BACKEND_UNREACHABLE,
    BLUEPRINT_INVALID,
    NOT_TAKEN_ON,
    POOL_NOT_FOUND,
    SPEC_CHANGE_IGNORED,
    UNKNOWN_DECISION,
    RunObstacle,
)
from flowcraft_api.wire import HeaderDocument
from flowcraft_api.workflow_run import (
    BlueprintSource,
    Decision,
    PoolReference,
    RunPhase,
    WorkflowRunSpec,
    WorkflowRunStatus,
)
from flowcraft_operator.planning.run import RunFacts, RunPlan, plan_run
from flowcraft_operator.planning.run_steps import (
    AddFinalizer,
    Cancel,
    Decide,
    ReadHeader,
    RemoveFinalizer,
    Resume,
    Start,
    Step,
    Suspend,
)
from flowcraft_operator.planning.run_writing import display_interval

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STARTED = "2026-03-01T11:59:50.000Z"
NO_POOL = RunObstacle(POOL_NOT_FOUND, "pool orders does not exist")
AWAY = RunObstacle(BACKEND_UNREACHABLE, "no answer")


def spec(**fields: Any) -> WorkflowRunSpec:
    return WorkflowRunSpec(
        pool_ref=PoolReference(name="orders"), blueprint=BlueprintSource(name="order"), **fields
    )


def header(status: str = "running", **fields: Any) -> HeaderDocument:
    document = {"id": "u1", "runId": "u1", "status": status, "createdAt": STARTED, "startedAt": STARTED}
    document["blueprintHash"] = "sha256:0"
    if status in {"completed", "failed", "cancelled"}:
        document["finishedAt"] = "2026-03-01T11:59:58.000Z"
    return {**document, **fields}  # type: ignore[typeddict-item]


FRESH = RunFacts(run_id="u1", generation=1)
HELD = replace(FRESH, has_finalizer=True)


def status_of(
    found: HeaderDocument | None, facts: RunFacts = HELD, wanted: WorkflowRunSpec | None = None
) -> Any:
    """The status that is written first."""
    plan = plan_run(wanted or spec(), found, replace(facts, header_known=True), NOW)
    assert plan.status is not None
    return plan.status


def accepted(phase: RunPhase = RunPhase.RUNNING) -> WorkflowRunStatus:
    """The status of a run that was taken into the backend."""
    reasons = {"Accepted": ("True", "Accepted"), "Succeeded": ("Unknown", phase.value)}
    conditions = [
        Condition(type=name, status=status, reason=why, last_transition_time=NOW)
        for name, (status, why) in reasons.items()
    ]
    return WorkflowRunStatus(observed_generation=1, run_id="u1", phase=phase, conditions=conditions)


ACTIVE = replace(HELD, previous=accepted(), header_known=True)


def reason(plan: RunPlan, name: str = "Accepted") -> str | None:
    found = condition_of(plan.status.conditions, name) if plan.status else None
    return found.reason if found else None


class TestBeforeItIsStarted:
    def test_the_finalizer_comes_before_the_start(self) -> None:
        assert plan_run(spec(), None, FRESH, NOW).step == AddFinalizer()
        assert plan_run(spec(), None, HELD, NOW).step == Start()

    def test_without_its_pool_it_waits_with_a_reason_and_without_finalizer(self) -> None:
        plan = plan_run(spec(), None, replace(FRESH, pool_problem=NO_POOL), NOW)
        assert plan.step is None
        assert reason(plan) == POOL_NOT_FOUND
        assert plan.status is not None
        assert plan.status.phase is RunPhase.PENDING
        assert [notice.reason for notice in plan.notices] == [POOL_NOT_FOUND]

    def test_while_the_operator_has_just_started_nothing_is_said(self) -> None:
        plan = plan_run(spec(), None, replace(FRESH, pool_problem=NO_POOL, settling=True), NOW)
        assert (plan.step, plan.status) == (None, None)
        assert plan.look_again_s

    def test_what_is_refused_for_good_ends_failed_and_is_let_go(self) -> None:
        invalid = RunObstacle(BLUEPRINT_INVALID, "an edge ends nowhere", final=True)
        plan = plan_run(spec(), None, replace(HELD, failure=invalid), NOW)
        assert plan.status is not None
        assert plan.status.phase is RunPhase.FAILED
        assert (reason(plan), reason(plan, "Succeeded")) == (BLUEPRINT_INVALID, BLUEPRINT_INVALID)
        assert plan.release
        assert plan.look_again_s is None

    def test_a_passing_failure_is_tried_again_later(self) -> None:
        plan = plan_run(spec(), None, replace(HELD, failure=AWAY), NOW)
        assert plan.step is None
        assert plan.look_again_s

    def test_cancelled_before_the_start_it_never_starts(self) -> None:
        plan = plan_run(spec(cancel=True), None, FRESH, NOW)
        assert plan.status is not None
        assert plan.status.phase is RunPhase.CANCELLED


class TestWorkersThatDoNotRun:
    CRASHING = RunObstacle("WorkersCrashing", "Pool orders: pod orders-1 ends again and again: exit code 1")

    def test_a_running_run_says_why_it_does_not_move(self) -> None:
        found = status_of(header(), replace(ACTIVE, workers_problem=self.CRASHING))
        summary = condition_of(found.conditions, "Succeeded")
        assert summary is not None
        assert (summary.reason, summary.message) == (self.CRASHING.reason, self.CRASHING.message)

    def test_a_run_that_waits_for_somebody_is_not_in_its_way(self) -> None:
        found = status_of(header(status="awaiting"), replace(ACTIVE, workers_problem=self.CRASHING))
        summary = condition_of(found.conditions, "Succeeded")
        assert summary is not None
        assert summary.reason == "Awaiting"

    def test_it_is_steered_all_the_same(self) -> None:
        plan = plan_run(spec(cancel=True), header(), replace(ACTIVE, workers_problem=self.CRASHING), NOW)
        assert plan.step == Cancel()


class TestSteering:
    @pytest.mark.parametrize(
        ("wanted", "found", "step"),
        [
            (spec(), header(), None),
            (spec(cancel=True), header(), Cancel()),
            (spec(cancel=True, suspend=True), header("paused"), Cancel()),
            (spec(cancel=True), header("cancelled"), None),
            (spec(cancel=True), header("completed"), None),
            (spec(suspend=True), header(), Suspend()),
            (spec(suspend=True), header("awaiting"), Suspend()),
            (spec(suspend=True), header("paused"), None),
            (spec(), header("paused"), Resume()),
            (spec(), header("failed"), None),
        ],
    )
    def test_what_spec_asks_and_the_header_does_not_show_is_done(
        self, wanted: WorkflowRunSpec, found: HeaderDocument, step: Step | None
    ) -> None:
        assert plan_run(wanted, found, ACTIVE, NOW).step == step

    def test_nothing_is_asked_of_a_backend_that_is_away(self) -> None:
        plan = plan_run(spec(cancel=True), header(), replace(ACTIVE, pool_problem=AWAY), NOW)
        assert plan.step is None
        assert reason(plan, "Succeeded") == BACKEND_UNREACHABLE

    def test_a_finalizer_that_somebody_took_is_set_again(self) -> None:
        assert plan_run(spec(), header(), replace(ACTIVE, has_finalizer=False), NOW).step == AddFinalizer()


class TestDecisions:
    approve = Decision(node_key="approve", action="approved")
    other = Decision(node_key="other")

    def waiting(self, *keys: str, kind: str = "wait") -> HeaderDocument:
        return header("awaiting", awaiting=[{"nodeKey": key, "kind": kind} for key in keys])

    def test_one_is_given_when_its_node_waits(self) -> None:
        wanted = spec(decisions=[self.other, self.approve])
        assert plan_run(wanted, self.waiting("approve"), ACTIVE, NOW).step == Decide(self.approve)

    def test_one_that_is_given_early_waits(self) -> None:
        assert plan_run(spec(decisions=[self.approve]), header(), ACTIVE, NOW).step is None

    def test_a_node_that_sleeps_is_not_answered(self) -> None:
        found = self.waiting("approve", kind="sleep")
        assert plan_run(spec(decisions=[self.approve]), found, ACTIVE, NOW).step is None

    def test_a_webhook_is_answered_too(self) -> None:
        found = self.waiting("approve", kind="webhook")
        assert plan_run(spec(decisions=[self.approve]), found, ACTIVE, NOW).step == Decide(self.approve)

    def test_one_for_a_node_in_a_subflow_is_given_while_that_is_waited_for(self) -> None:
        inside = Decision(node_key="sub/approve")
        wanted = spec(decisions=[inside])
        assert plan_run(wanted, self.waiting("sub", kind="run"), ACTIVE, NOW).step == Decide(inside)
        assert plan_run(wanted, self.waiting("other", kind="run"), ACTIVE, NOW).step is None

    def test_one_is_not_repeated_before_its_effect_can_be_seen(self) -> None:
        wanted, found = spec(decisions=[self.approve]), self.waiting("approve")
        given = replace(ACTIVE, decided={"approve": NOW - timedelta(seconds=5)})
        assert plan_run(wanted, found, given, NOW).step is None
        assert plan_run(wanted, found, given, NOW + timedelta(minutes=2)).step == Decide(self.approve)

    def test_behind_a_full_list_every_decision_is_tried(self) -> None:
        found = self.waiting(*(f"n{number}" for number in range(50)))
        assert plan_run(spec(decisions=[self.approve]), found, ACTIVE, NOW).step == Decide(self.approve)


class TestStatus:
    def test_a_run_that_ended_is_told_and_let_go(self) -> None:
        plan = plan_run(spec(), header("completed", output={"ship": 1}), ACTIVE, NOW)
        assert plan.status is not None
        assert plan.status.phase is RunPhase.SUCCEEDED
        assert plan.status.output == {"ship": 1}
        assert plan.release
        assert [notice.reason for notice in plan.notices] == ["Succeeded"]

    def test_nothing_is_written_twice(self) -> None:
        told = status_of(header())
        plan = plan_run(spec(), header(), replace(ACTIVE, previous=told, written_at=NOW), NOW)
        assert plan.status is None
        assert plan.look_again_s == pytest.approx(10)

    def test_duration_alone_is_written_after_ten_seconds_and_ever_more_rarely(self) -> None:
        told = status_of(header())
        facts = replace(ACTIVE, previous=told, written_at=NOW)
        for passed_s, due in ((5, False), (9, False), (10, True)):
            plan = plan_run(spec(), header(), facts, NOW + timedelta(seconds=passed_s))
            assert (plan.status is not None) == due
        old = header(createdAt="2026-02-28T12:00:00Z", startedAt="2026-02-28T12:00:00Z")
        facts = replace(ACTIVE, previous=status_of(old), written_at=NOW)
        assert plan_run(spec(), old, facts, NOW + timedelta(hours=1)).status is None
        assert plan_run(spec(), old, facts, NOW + timedelta(hours=3)).status is not None

    def test_many_runs_share_what_display_may_cost(self) -> None:
        assert display_interval(50) == timedelta(seconds=10)
        assert display_interval(5000) == timedelta(seconds=1000)
        facts = replace(ACTIVE, previous=status_of(header()), written_at=NOW)
        crowded = replace(facts, display_every=display_interval(5000))
        later = NOW + timedelta(seconds=60)
        further = header(progress={"done": 2, "total": 4})
        for found in (header(), further):
            assert plan_run(spec(), found, facts, later).status is not None
            plan = plan_run(spec(), found, crowded, later)
            assert plan.status is None
            assert plan.look_again_s == pytest.approx(940)

    def test_a_new_phase_is_written_at_once(self) -> None:
        facts = replace(ACTIVE, previous=status_of(header()), written_at=NOW)
        plan = plan_run(spec(), header("awaiting"), facts, NOW + timedelta(seconds=1))
        assert plan.status is not None

    def test_another_waiting_node_is_written_within_ten_seconds(self) -> None:
        one = header("awaiting", awaiting=[{"nodeKey": "a", "kind": "wait"}])
        two = header(
            "awaiting", awaiting=[{"nodeKey": "a", "kind": "wait"}, {"nodeKey": "b", "kind": "wait"}]
        )
        facts = replace(ACTIVE, previous=status_of(one), written_at=NOW)
        plan = plan_run(spec(), two, facts, NOW + timedelta(seconds=4))
        assert plan.status is None
        assert plan.look_again_s == pytest.approx(6)
        assert plan_run(spec(), two, facts, NOW + timedelta(seconds=10)).status is not None

    def test_a_run_that_ended_stays_as_it_ended_when_its_facts_are_deleted(self) -> None:
        told = status_of(header("completed"))
        plan = plan_run(spec(), None, replace(FRESH, previous=told, header_known=True), NOW)
        assert (plan.step, plan.status, plan.release) == (None, None, False)

    def test_drift_is_told_until_the_spec_changes_again(self) -> None:
        drift = RunObstacle(SPEC_CHANGE_IGNORED, "spec.input changed")
        plan = plan_run(spec(), header(), replace(ACTIVE, drift=drift), NOW)
        assert reason(plan) == SPEC_CHANGE_IGNORED
        assert reason(plan, "Succeeded") == "Running"
        later = replace(ACTIVE, previous=plan.status, written_at=NOW)
        assert plan_run(spec(), header(), later, NOW).status is None
        changed = plan_run(spec(), header(), replace(later, generation=2), NOW)
        assert reason(changed) == "Accepted"

    def test_why_no_worker_takes_it_is_told(self) -> None:
        blocked = header(reason="BlueprintUnknown", message="no worker knows order")
        assert reason(plan_run(spec(), blocked, ACTIVE, NOW), "Succeeded") == "BlueprintUnknown"

    def test_a_run_that_no_worker_takes_on_says_so_and_an_event_says_why(self) -> None:
        untaken = header(blueprintHash=None, startedAt=None)
        plan = plan_run(spec(), untaken, ACTIVE, NOW)
        assert plan.status is not None
        assert (plan.status.phase, reason(plan), reason(plan, "Succeeded")) == (
            "Running",
            "Accepted",
            NOT_TAKEN_ON,
        )
        assert (plan.status.duration, plan.notices) == (None, ())
        blocked = {**untaken, "reason": "BlueprintUnknown", "message": "deploy an app that has it"}
        told = plan_run(spec(), cast("HeaderDocument", blocked), replace(ACTIVE, previous=plan.status), NOW)
        assert [(notice.reason, notice.type) for notice in told.notices] == [("BlueprintUnknown", "Warning")]
        again = replace(ACTIVE, previous=told.status, written_at=NOW)
        assert plan_run(spec(), cast("HeaderDocument", blocked), again, NOW).notices == ()

    def test_a_run_that_was_accepted_is_not_started_again_when_it_cannot_be_read(self) -> None:
        pending = plan_run(spec(), header(blueprintHash=None, startedAt=None), ACTIVE, NOW).status
        plan = plan_run(spec(), None, replace(HELD, previous=pending, pool_problem=AWAY), NOW)
        assert (plan.step, reason(plan), reason(plan, "Succeeded")) == (None, "Accepted", AWAY.reason)

    def test_a_decision_that_cannot_be_meant_is_not_given(self) -> None:
        waits = header("awaiting", awaiting=[{"nodeKey": "approve", "kind": "wait"}])
        decided = spec(decisions=[Decision(node_key="approve", action="aproved")])
        assert isinstance(plan_run(decided, waits, ACTIVE, NOW).step, Decide)
        misspelt = replace(ACTIVE, misdirected={"approve": "no edge of approve asks for action 'aproved'"})
        assert plan_run(decided, waits, misspelt, NOW).step is None

    def test_a_decision_that_no_node_can_wait_for_is_told(self) -> None:
        misdirected = {"aprove": "blueprint order has no node 'aprove'"}
        waits = header("awaiting", awaiting=[{"nodeKey": "approve", "kind": "wait"}])
        plan = plan_run(spec(), waits, replace(ACTIVE, misdirected=misdirected), NOW)
        assert plan.status is not None
        assert (plan.status.phase, reason(plan, "Succeeded")) == (RunPhase.AWAITING, UNKNOWN_DECISION)
        assert UNKNOWN_DECISION in [notice.reason for notice in plan.notices]
        ended = plan_run(spec(), header("completed"), replace(ACTIVE, misdirected=misdirected), NOW)
        assert reason(ended, "Succeeded") == "Completed"


class TestLostFacts:
    def test_an_accepted_run_is_looked_for_not_started(self) -> None:
        assert plan_run(spec(), None, replace(ACTIVE, header_known=False), NOW).step == ReadHeader()

    def test_one_whose_facts_are_gone_ends_failed_after_a_while_and_is_never_started_again(self) -> None:
        gone = replace(ACTIVE, missing_since=NOW)
        early = plan_run(spec(), None, gone, NOW + timedelta(seconds=30))
        assert early.step is None
        assert early.status is not None
        assert early.status.phase is RunPhase.RUNNING
        late = plan_run(spec(), None, gone, NOW + timedelta(seconds=61))
        assert late.status is not None
        assert late.status.phase is RunPhase.FAILED
        assert reason(late, "Succeeded") == "FactsLost"

    def test_while_the_pool_is_away_an_active_run_stays_as_it_was(self) -> None:
        plan = plan_run(spec(), None, replace(ACTIVE, header_known=False, pool_problem=NO_POOL), NOW)
        assert plan.status is not None
        assert plan.status.phase is RunPhase.RUNNING
        assert reason(plan, "Succeeded") == POOL_NOT_FOUND
        assert reason(plan, "Accepted") == "Accepted"


class TestDeletion:
    going = replace(ACTIVE, deleting_since=NOW - timedelta(seconds=1))

    def test_without_finalizer_there_is_nothing_to_do(self) -> None:
        assert plan_run(spec(), header(), replace(self.going, has_finalizer=False), NOW) == RunPlan()

    @pytest.mark.parametrize(
        ("found", "step"),
        [
            (header(), Cancel()),
            (header("awaiting"), Cancel()),
            (header("paused"), Cancel()),
            (header("completed"), RemoveFinalizer()),
            (header("cancelled"), RemoveFinalizer()),
            (None, RemoveFinalizer()),
        ],
    )
    def test_an_active_run_is_cancelled_then_let_go(self, found: HeaderDocument | None, step: Step) -> None:
        assert plan_run(spec(), found, self.going, NOW).step == step

    def test_a_run_whose_header_was_not_looked_for_is_looked_up_first(self) -> None:
        assert plan_run(spec(), None, replace(self.going, header_known=False), NOW).step == ReadHeader()

    @pytest.mark.parametrize("problem", [AWAY, NO_POOL])
    def test_it_never_waits_longer_than_the_grace(self, problem: RunObstacle) -> None:
        facts = replace(self.going, header_known=False, pool_problem=problem)
        waiting = plan_run(spec(), None, facts, NOW)
        assert waiting.step is None
        assert waiting.look_again_s
        late = plan_run(spec(), None, facts, NOW + timedelta(seconds=60))
        assert late.step == RemoveFinalizer()
        assert [notice.reason for notice in late.notices] == ["CancelNotDelivered"]
        assert problem.message in late.notices[0].message


headers = st.none() | st.builds(
    header,
    st.sampled_from(["running", "awaiting", "paused", "completed", "failed", "cancelled"]),
    awaiting=st.just([{"nodeKey": "a", "kind": "wait"}]) | st.just([]),
)
facts_of_runs = st.builds(
    RunFacts,
    run_id=st.just("u1"),
    generation=st.sampled_from([1, 2]),
    has_finalizer=st.booleans(),
    deleting_since=st.none() | st.just(NOW) | st.just(NOW - timedelta(hours=1)),
    previous=st.none() | st.sampled_from(RunPhase).map(accepted),
    pool_problem=st.sampled_from([None, NO_POOL, AWAY]),
    settling=st.booleans(),
    header_known=st.booleans(),
    missing_since=st.none() | st.just(NOW - timedelta(minutes=5)),
    failure=st.sampled_from([None, AWAY, RunObstacle(BLUEPRINT_INVALID, "x", final=True)]),
    written_at=st.none() | st.just(NOW) | st.just(NOW - timedelta(hours=1)),
)
specs = st.builds(
    spec,
    cancel=st.booleans(),
    suspend=st.booleans(),
    decisions=st.just([]) | st.just([Decision(node_key="a")]),
    deadline=st.none() | st.just(Duration("1h")),
)


def carried_out(
    step: Step, found: HeaderDocument | None, facts: RunFacts
) -> tuple[HeaderDocument | None, RunFacts]:
    """What is known after a step that succeeded."""
    match step:
        case AddFinalizer() | RemoveFinalizer():
            facts = replace(facts, has_finalizer=isinstance(step, AddFinalizer))
        case Start():
            found = header()
        case ReadHeader():
            facts = replace(facts, header_known=True)
        case Decide(decision):
            facts = replace(facts, decided={**facts.decided, decision.node_key: NOW})
        case _:
            status = {"Cancel": "cancelled", "Suspend": "paused", "Resume": "running"}[type(step).__name__]
            found = header(status)
    return found, replace(facts, header_known=True)


@given(wanted=specs, found=headers, facts=facts_of_runs)
def test_steps_that_succeed_come_to_an_end_and_the_status_settles(
    wanted: WorkflowRunSpec, found: HeaderDocument | None, facts: RunFacts
) -> None:
    for _ in range(8):
        plan = plan_run(wanted, found, facts, NOW)
        if plan.step is None:
            break
        assert plan.status is None
        found, facts = carried_out(plan.step, found, facts)
    assert plan.step is None
    if plan.status is not None:
        told = replace(facts, previous=plan.status, written_at=NOW)
        again = plan_run(wanted, found, told, NOW)
        assert again.step is None
        assert again.status is None
    if facts.deleting_since is not None and NOW - facts.deleting_since > facts.deletion_grace:
        assert not facts.has_finalizer


@given(wanted=specs, found=headers, facts=facts_of_runs)
def test_a_run_that_was_accepted_or_ended_is_never_started_again(
    wanted: WorkflowRunSpec, found: HeaderDocument | None, facts: RunFacts
) -> None:
    plan = plan_run(wanted, found, facts, NOW)
    if facts.previous is not None or found is not None or facts.deleting_since is not None:
        assert plan.step != Start()
    if not facts.has_finalizer:
        assert plan.step != Start()

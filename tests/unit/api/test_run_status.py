"""What users see of a run is a pure function of its header, its spec and what was seen before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_api.conditions import condition_of
from flowcraft_api.run_status import (
    BACKEND_UNREACHABLE,
    CANCELLED,
    INPUT_TOO_LARGE,
    NOT_TAKEN_ON,
    POOL_NOT_FOUND,
    SPEC_CHANGE_IGNORED,
    RunObstacle,
    differs_only_in_display,
    reason_of,
    run_status,
)
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument
from flowcraft_api.workflow_run import (
    BlueprintSource,
    PoolReference,
    RunPhase,
    WorkflowRunSpec,
    WorkflowRunStatus,
)

NOW = datetime(2026, 1, 31, 8, 0, 10, tzinfo=UTC)
SPEC = WorkflowRunSpec(
    pool_ref=PoolReference(name="orders"),
    blueprint=BlueprintSource(name="order", version="1"),
    input={"amount": 42},
)


def header(status: str, **fields: Any) -> HeaderDocument:
    document = {
        "id": "8b2f",
        "runId": "8b2f",
        "type": "header",
        "v": 1,
        "status": status,
        "blueprintId": "order",
        "blueprintVersion": "1",
        "blueprintHash": "sha256:0",
        "input": {"amount": 42},
        "startedAt": "2026-01-31T08:00:00.000000Z",
        "progress": {"done": 2, "total": 4},
    }
    return cast(HeaderDocument, document | fields)


def seen(status: WorkflowRunStatus, name: str) -> tuple[str, str]:
    found = condition_of(status.conditions, name)
    assert found is not None
    return found.status, found.reason


@pytest.mark.parametrize(
    ("stored", "phase", "accepted", "succeeded", "finished"),
    [
        (None, "Pending", ("Unknown", "Pending"), ("Unknown", "Pending"), ("False", "Pending")),
        ("running", "Running", ("True", "Accepted"), ("Unknown", "Running"), ("False", "Running")),
        ("awaiting", "Awaiting", ("True", "Accepted"), ("Unknown", "Awaiting"), ("False", "Awaiting")),
        ("paused", "Suspended", ("True", "Accepted"), ("Unknown", "Suspended"), ("False", "Suspended")),
        ("completed", "Succeeded", ("True", "Accepted"), ("True", "Completed"), ("True", "Succeeded")),
        ("failed", "Failed", ("True", "Accepted"), ("False", "NodeFailed"), ("True", "Failed")),
        ("cancelled", "Cancelled", ("True", "Accepted"), ("False", "Cancelled"), ("True", "Cancelled")),
    ],
)
def test_phase_and_conditions_follow_the_header(
    stored: str | None,
    phase: str,
    accepted: tuple[str, str],
    succeeded: tuple[str, str],
    finished: tuple[str, str],
) -> None:
    status = run_status(header(stored) if stored else None, SPEC, now=NOW, run_id="8b2f", generation=3)
    assert status.phase == phase
    assert seen(status, "Accepted") == accepted
    assert seen(status, "Succeeded") == succeeded
    assert seen(status, "Finished") == finished
    assert (status.run_id, status.observed_generation) == ("8b2f", 3)
    assert {each.observed_generation for each in status.conditions} == {3}


def test_a_run_that_succeeded_shows_its_output_and_its_exact_duration() -> None:
    status = run_status(
        header(
            "completed",
            finishedAt="2026-01-31T08:00:01.200000Z",
            output={"ship": {"parcel": 1}},
            progress={"done": 4, "total": 4},
        ),
        SPEC,
        now=NOW,
    )
    document = status.to_document()
    assert (document["duration"], document["progress"]) == ("1.2s", "4/4")
    assert (document["startedAt"], document["finishedAt"]) == ("2026-01-31T08:00:00Z", "2026-01-31T08:00:01Z")
    assert document["output"] == {"ship": {"parcel": 1}}
    assert document["blueprint"] == {"name": "order", "version": "1", "hash": "sha256:0"}


def test_a_large_output_is_named_by_its_size_instead() -> None:
    status = run_status(header("completed", output={"text": "x" * 9000}), SPEC, now=NOW)
    assert status.output is None
    summary = condition_of(status.conditions, "Succeeded")
    assert summary is not None
    assert "Its output of 9012 bytes is not shown here; `flowcraft get` prints it." in summary.message


def test_a_waiting_run_says_for_what_and_how_to_answer() -> None:
    waiting = [
        {"nodeKey": "approve", "kind": "wait", "since": "2026-01-31T08:00:02Z", "until": None},
        {"nodeKey": "nap", "kind": "sleep", "since": "2026-01-31T08:00:02Z", "until": "2026-02-01T08:00:02Z"},
    ]
    status = run_status(header("awaiting", awaiting=waiting), SPEC, now=NOW)
    assert status.to_document()["awaiting"] == [
        {"nodeKey": "approve", "kind": "wait", "since": "2026-01-31T08:00:02Z"},
        {"nodeKey": "nap", "kind": "sleep", "since": "2026-01-31T08:00:02Z", "until": "2026-02-01T08:00:02Z"},
    ]
    summary = condition_of(status.conditions, "Succeeded")
    assert summary is not None
    assert summary.message == (
        "Waiting at approve, nap; answer with spec.decisions or `flowcraft decide` for approve."
    )
    assert status.duration == "10s"


def test_a_run_that_waits_for_a_call_or_for_another_run_says_where() -> None:
    waiting = [
        {
            "nodeKey": "hook",
            "kind": "webhook",
            "since": None,
            "until": None,
            "address": "https://x.example/1",
        },
        {"nodeKey": "sub", "kind": "run", "since": None, "until": None, "runId": "order-1.sub-0"},
    ]
    status = run_status(header("awaiting", awaiting=waiting), SPEC, now=NOW)
    assert status.to_document()["awaiting"] == [
        {"nodeKey": "hook", "kind": "webhook", "address": "https://x.example/1"},
        {"nodeKey": "sub", "kind": "run", "runId": "order-1.sub-0"},
    ]
    summary = condition_of(status.conditions, "Succeeded")
    assert summary is not None
    assert "answer with spec.decisions or `flowcraft decide` for hook" in summary.message


def test_a_failed_run_says_which_node_failed_and_why() -> None:
    error = {
        "nodeKey": "charge",
        "type": "ValueError",
        "message": "amount must not be negative",
        "attempt": 4,
        "at": "2026-01-31T08:00:08Z",
    }
    status = run_status(header("failed", reason="NodeFailed", errors=[error]), SPEC, now=NOW)
    assert status.to_document()["failures"] == [
        {
            "nodeKey": "charge",
            "type": "ValueError",
            "error": "amount must not be negative",
            "attempt": 4,
            "at": "2026-01-31T08:00:08Z",
        }
    ]
    summary = condition_of(status.conditions, "Succeeded")
    assert summary is not None
    assert summary.message == "Node charge failed: amount must not be negative"


def test_a_deadline_is_the_reason_of_the_failure() -> None:
    status = run_status(header("failed", reason="DeadlineExceeded"), SPEC, now=NOW)
    assert (status.phase, reason_of(status)) == (RunPhase.FAILED, "DeadlineExceeded")


def test_a_run_says_that_no_worker_took_it_on_and_its_duration_begins_when_one_does() -> None:
    accepted: dict[str, Any] = {"createdAt": "2026-01-31T07:00:00.000Z", "startedAt": None}
    untaken = run_status(header("running", blueprintHash=None, **accepted), SPEC, now=NOW)
    taken = run_status(header("running", createdAt=accepted["createdAt"]), SPEC, untaken, now=NOW)

    assert (untaken.phase, untaken.started_at, untaken.duration) == (RunPhase.RUNNING, None, None)
    assert (seen(untaken, "Accepted"), seen(untaken, "Succeeded")) == (
        ("True", "Accepted"),
        ("Unknown", NOT_TAKEN_ON),
    )
    assert (taken.phase, taken.duration) == (RunPhase.RUNNING, "10s")


def test_a_run_that_workers_refuse_says_why() -> None:
    refused = header("running", blueprintHash=None, reason="BlueprintUnknown", message="deploy it")
    assert reason_of(run_status(refused, SPEC, now=NOW)) == "BlueprintUnknown"


def test_a_run_that_ended_before_it_was_taken_on_took_no_time() -> None:
    ended = header("cancelled", blueprintHash=None, startedAt=None, finishedAt="2026-01-31T08:00:09Z")
    assert run_status(ended, SPEC, now=NOW).duration is None


def test_an_unknown_pool_keeps_the_run_pending_with_the_reason() -> None:
    missing = RunObstacle(
        POOL_NOT_FOUND, "There is no FlowcraftWorkerPool orders in this namespace; apply it."
    )
    status = run_status(None, SPEC, now=NOW, obstacles=[missing])
    assert status.phase is RunPhase.PENDING
    assert seen(status, "Accepted") == ("False", POOL_NOT_FOUND)
    assert seen(status, "Succeeded") == ("Unknown", POOL_NOT_FOUND)
    assert status.blueprint is not None
    assert status.blueprint.name == "order"
    going = run_status(header("running"), SPEC, status, now=NOW)
    assert seen(going, "Accepted") == ("True", "Accepted")


def test_what_can_never_be_accepted_fails_at_once() -> None:
    refusal = RunObstacle(INPUT_TOO_LARGE, "The input has 3 MB; at most 1 MB is allowed.", final=True)
    status = run_status(None, SPEC, now=NOW, obstacles=[refusal])
    assert status.phase is RunPhase.FAILED
    assert seen(status, "Accepted") == ("False", INPUT_TOO_LARGE)
    assert seen(status, "Succeeded") == ("False", INPUT_TOO_LARGE)
    assert seen(status, "Finished") == ("True", "Failed")
    assert status.finished_at == NOW


def test_a_run_cancelled_before_it_started_is_cancelled() -> None:
    cancelled = RunObstacle(CANCELLED, "The run was cancelled before it was started.", final=True)
    status = run_status(None, SPEC, now=NOW, obstacles=[cancelled])
    assert (status.phase, seen(status, "Finished")) == (RunPhase.CANCELLED, ("True", "Cancelled"))


def test_an_unreachable_backend_changes_nothing_but_the_reason() -> None:
    before = run_status(header("running"), SPEC, now=NOW, run_id="8b2f")
    away = RunObstacle(BACKEND_UNREACHABLE, "Cosmos DB does not answer: timeout.")
    after = run_status(None, SPEC, before, now=NOW + timedelta(minutes=1), obstacles=[away])
    assert (after.phase, after.progress, after.started_at) == (
        before.phase,
        before.progress,
        before.started_at,
    )
    assert seen(after, "Accepted") == ("True", "Accepted")
    assert seen(after, "Succeeded") == ("Unknown", BACKEND_UNREACHABLE)
    assert seen(run_status(None, SPEC, now=NOW, obstacles=[away]), "Accepted") == (
        "Unknown",
        BACKEND_UNREACHABLE,
    )


def test_a_run_whose_facts_were_deleted_stays_as_it_ended() -> None:
    ended = run_status(header("completed", output={"ship": 1}), SPEC, now=NOW, run_id="8b2f", generation=1)
    later = run_status(None, SPEC, ended, now=NOW + timedelta(days=9), run_id="8b2f", generation=1)
    assert later == ended


def test_a_changed_input_is_said_and_ignored() -> None:
    changed = SPEC.model_copy(update={"input": {"amounts": 42}})
    status = run_status(header("running"), changed, now=NOW)
    assert seen(status, "Accepted") == ("True", SPEC_CHANGE_IGNORED)
    unknown = header("running")
    del unknown["input"]
    assert seen(run_status(unknown, changed, now=NOW), "Accepted") == ("True", "Accepted")


def test_a_reason_in_an_active_header_is_shown() -> None:
    status = run_status(
        header("running", reason="BlueprintNotFound", message="No worker knows order."), SPEC, now=NOW
    )
    assert seen(status, "Succeeded") == ("Unknown", "BlueprintNotFound")


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = run_status(None, SPEC, now=NOW)
    second = run_status(header("running"), SPEC, first, now=NOW + timedelta(seconds=5))
    third = run_status(header("completed"), SPEC, second, now=NOW + timedelta(seconds=9))

    def times(name: str) -> list[datetime]:
        found = [condition_of(status.conditions, name) for status in (first, second, third)]
        return [each.last_transition_time for each in found if each is not None]

    assert times("Accepted") == [NOW, NOW + timedelta(seconds=5), NOW + timedelta(seconds=5)]
    assert times("Succeeded") == times("Finished") == [NOW, NOW, NOW + timedelta(seconds=9)]


def test_time_alone_is_no_difference_worth_a_write() -> None:
    before = run_status(header("running"), SPEC, now=NOW)
    later = run_status(
        header("running", progress={"done": 3, "total": 4}), SPEC, before, now=NOW + timedelta(minutes=1)
    )
    assert later != before
    assert differs_only_in_display(before, later)
    assert not differs_only_in_display(before, run_status(header("completed"), SPEC, before, now=NOW))
    assert not differs_only_in_display(None, before)


@pytest.mark.parametrize(
    "started", [1_769_846_400, 1_769_846_400_000, "2026-01-31T08:00:00", "2026-01-31T09:00:00+01:00"]
)
def test_times_are_read_as_any_client_writes_them(started: object) -> None:
    status = run_status(header("running", startedAt=started), SPEC, now=NOW)
    assert status.started_at == datetime(2026, 1, 31, 8, tzinfo=UTC)


def test_the_status_is_the_same_after_a_trip_to_the_api_server() -> None:
    status = run_status(
        header("awaiting", awaiting=[{"nodeKey": "a", "kind": "wait"}]), SPEC, now=NOW, run_id="8b2f"
    )
    assert WorkflowRunStatus.model_validate(status.to_document()) == status


texts = st.text(max_size=5) | st.text(min_size=1200, max_size=1300)
junk = st.none() | st.booleans() | st.integers() | st.floats() | texts
times = st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | junk
headers = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["running", "awaiting", "paused", "completed", "failed", "cancelled"])
        | texts,
        "blueprintId": texts,
        "blueprintVersion": texts | st.none(),
        "blueprintHash": texts | st.none(),
        "reason": texts | st.none(),
        "message": texts | st.none(),
        "startedAt": times,
        "createdAt": times,
        "finishedAt": times,
        "deadlineAt": times,
        "progress": st.fixed_dictionaries({}, optional={"done": st.integers(), "total": st.integers()})
        | st.none(),
        "errors": st.lists(
            st.fixed_dictionaries(
                {}, optional={"nodeKey": texts, "message": texts, "attempt": junk, "at": times}
            ),
            max_size=25,
        ),
        "awaiting": st.lists(
            st.fixed_dictionaries(
                {}, optional={"nodeKey": texts, "kind": texts, "since": times, "until": times}
            ),
            max_size=25,
        ),
        "output": junk,
    },
)
obstacles = st.lists(st.builds(RunObstacle, reason=texts, message=texts, final=st.booleans()), max_size=2)


@given(st.none() | headers, st.none() | headers, obstacles, st.booleans())
def test_every_header_has_a_status_that_the_api_server_takes(
    first: dict[str, Any] | None,
    second: dict[str, Any] | None,
    seen_beside: list[RunObstacle],
    with_spec: bool,
) -> None:
    spec = SPEC if with_spec else None
    before = run_status(cast("HeaderDocument | None", first), spec, now=NOW)
    after = run_status(
        cast("HeaderDocument | None", second),
        spec,
        before,
        now=NOW + timedelta(seconds=1),
        obstacles=seen_beside,
    )
    assert WorkflowRunStatus.model_validate(after.to_document()).phase is after.phase
    assert [each.type for each in after.conditions] == ["Accepted", "Succeeded", "Finished"]
    finished, succeeded = seen(after, "Finished")[0], seen(after, "Succeeded")[0]
    assert (finished == "True") == after.phase.is_final == (succeeded != "Unknown")
    assert (succeeded == "True") == (after.phase is RunPhase.SUCCEEDED)
    if second is not None and second.get("status") in TERMINAL_STATUSES:
        assert after.phase.is_final
    for each in after.conditions:
        previous = condition_of(before.conditions, each.type)
        assert previous is not None
        assert (each.last_transition_time == previous.last_transition_time) == (
            each.status == previous.status
        )

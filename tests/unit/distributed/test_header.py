"""The run header: every verb in every status, and what each change writes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from flowcraft.blueprint import Blueprint, NodeDefinition
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.times import iso
from flowcraft_api.wire import TERMINAL_STATUSES, AwaitingDocument, HeaderDocument

START = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
NOW = START + timedelta(hours=1)
STATUSES = ("running", "awaiting", "paused", "completed", "failed", "cancelled")
WAIT: AwaitingDocument = {"nodeKey": "ok", "kind": "wait", "since": iso(START), "until": None}
SLEEP: AwaitingDocument = {"nodeKey": "nap", "kind": "sleep", "since": iso(START), "until": iso(NOW)}
REFUSED = "refused"


def header(status: str = "running", **more: Any) -> HeaderDocument:
    document: dict[str, Any] = {
        "id": "r",
        "runId": "r",
        "type": "header",
        "v": 1,
        "status": status,
        "blueprintId": "order",
        "createdAt": iso(START),
        "lastUpdated": iso(START),
        **more,
    }
    return cast("HeaderDocument", document)


def _ended(status: str) -> Callable[[HeaderDocument], HeaderDocument | None]:
    return lambda document: headers.ended(document, status, NOW)


VERBS: dict[str, Callable[[HeaderDocument], HeaderDocument | None]] = {
    "cancel": lambda document: headers.cancelled(document, NOW),
    "suspend": lambda document: headers.suspended(document, NOW),
    "resume": lambda document: headers.resumed(document, NOW),
    "complete": _ended("completed"),
    "fail": _ended("failed"),
    "park": lambda document: headers.with_awaiting(document, WAIT, NOW),
    "wake": lambda document: headers.woken(document, "other", NOW),
    "settle moving": lambda document: headers.settled(document, [WAIT], (1, 3), NOW, quiet=False),
    "settle quiet": lambda document: headers.settled(document, [WAIT], (1, 3), NOW, quiet=True),
    "settle nothing waits": lambda document: headers.settled(document, [], (1, 3), NOW, quiet=True),
    "block": lambda document: headers.blocked(document, "BlueprintUnknown", "nobody", NOW),
    "touch": lambda document: headers.touched(document, NOW),
}
TABLE: dict[str, tuple[str | None, ...]] = {
    # by status:            running      awaiting     paused       completed failed   cancelled
    "cancel":               ("cancelled", "cancelled", "cancelled", REFUSED, REFUSED, None),
    "suspend":              ("paused", "paused", None, REFUSED, REFUSED, REFUSED),
    "resume":               (None, None, "running", REFUSED, REFUSED, REFUSED),
    "complete":             ("completed", "completed", "completed", None, None, None),
    "fail":                 ("failed", "failed", "failed", None, None, None),
    "park":                 ("running", "awaiting", "paused", None, None, None),
    "wake":                 (None, "running", None, None, None, None),
    "settle moving":        ("running", "running", "paused", None, None, None),
    "settle quiet":         ("awaiting", "awaiting", "paused", None, None, None),
    "settle nothing waits": ("running", "running", "paused", None, None, None),
    "block":                ("running", "awaiting", "paused", None, None, None),
    "touch":                ("running", "awaiting", "paused", None, None, None),
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_in_every_status(verb: str, status: str) -> None:
    """None: nothing is to be written."""
    before = header(status)
    expected = TABLE[verb][STATUSES.index(status)]
    kept = dict(before)
    if expected == REFUSED:
        with pytest.raises(RefusedError, match=status):
            VERBS[verb](before)
    else:
        after = VERBS[verb](before)
        assert (None if after is None else after["status"]) == expected
        if after is not None:
            assert after["lastUpdated"] == iso(NOW)
    assert before == kept, "a header is a value"


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
@pytest.mark.parametrize("verb", VERBS)
def test_what_has_ended_is_never_written_again(verb: str, status: str) -> None:
    with contextlib.suppress(RefusedError):
        assert VERBS[verb](header(status, finishedAt=iso(START))) is None


def test_a_new_header_says_what_was_asked_for() -> None:
    request = RunRequest(
        "r", "order", "1", {"amount": 1}, "q", "pool", "name", "space", deadline_s=60, ttl_after_finished_s=5
    )
    assert headers.new(request, START) == {
        **header(),
        "input": {"amount": 1},
        "blueprintVersion": "1",
        "queue": "q",
        "pool": "pool",
        "name": "name",
        "namespace": "space",
        "ttlAfterFinishedS": 5,
        "deadlineAt": iso(START + timedelta(seconds=60)),
        "nextCheck": iso(START + timedelta(seconds=60)),
    }
    assert headers.new(RunRequest("r", "order", suspended=True), START)["status"] == "paused"


def test_pinning_keeps_what_the_header_had_and_ends_a_block() -> None:
    blueprint = Blueprint("order", (NodeDefinition("a", "code"),), metadata={"version": "2"})
    blocked = headers.blocked(header(queue="mine"), "BlueprintUnknown", "nobody", START)
    assert blocked is not None
    pinned = headers.pinned(blocked, blueprint, NOW, queue="other")
    assert (pinned["queue"], pinned["blueprintVersion"]) == ("mine", "2")
    assert (pinned["blueprint"], pinned["blueprintHash"]) == (blueprint.to_dict(), blueprint.content_hash)
    assert pinned["startedAt"] == iso(NOW)
    assert not {"reason", "message"} & set(pinned)
    assert headers.is_pinned(pinned)
    assert not headers.is_pinned(header())


def test_a_large_snapshot_is_referred_to() -> None:
    blueprint = Blueprint("order", (NodeDefinition("a", "code"),))
    pinned = headers.pinned(header(), blueprint, NOW, queue="q", snapshot_ref="b:1")
    assert pinned["blueprintRef"] == "b:1"
    assert "blueprint" not in pinned


def test_an_end_says_what_came_of_the_run_and_until_when_it_is_kept() -> None:
    before = header(
        "awaiting",
        awaiting=[SLEEP],
        nextCheck=iso(NOW),
        blocked={"reason": "BlueprintUnknown", "message": "x"},
        ttlAfterFinishedS=60,
    )
    after = headers.ended(before, "completed", NOW, output={"a": 1}, progress=(2, 2))
    assert after is not None
    assert (after["finishedAt"], after["output"]) == (iso(NOW), {"a": 1})
    assert after["progress"] == {"done": 2, "total": 2}
    assert after["expiresAt"] == iso(NOW + timedelta(seconds=60))
    assert not {"awaiting", "nextCheck", "reason", "message"} & set(after)


def test_a_failure_lists_at_most_so_many_errors() -> None:
    errors = [{"nodeKey": f"n{number}", "message": "m"} for number in range(headers.MAX_LISTED + 9)]
    after = headers.ended(
        header(), "failed", NOW, errors=cast("Any", errors), reason="NodeFailed", message="m"
    )
    assert after is not None
    assert len(after["errors"]) == headers.MAX_LISTED
    assert (after["reason"], after["message"]) == ("NodeFailed", "m")


def test_a_node_that_waits_is_listed_once_and_its_alarm_is_the_next_check() -> None:
    once = headers.with_awaiting(header(), SLEEP, NOW)
    assert once is not None
    assert (once["awaiting"], once["nextCheck"]) == ([SLEEP], iso(NOW))
    assert headers.with_awaiting(once, SLEEP, NOW) is None
    later = {**SLEEP, "until": iso(NOW + timedelta(hours=1))}
    again = headers.with_awaiting(once, cast("AwaitingDocument", later), NOW)
    assert again is not None
    assert again["awaiting"] == [later]


def test_a_node_that_wakes_is_listed_no_more() -> None:
    listed = header("awaiting", awaiting=[WAIT, SLEEP], nextCheck=iso(NOW))
    one = headers.woken(listed, "nap", NOW)
    assert one is not None
    assert (one["status"], one["awaiting"]) == ("running", [WAIT])
    assert "nextCheck" not in one
    none = headers.woken(one, "ok", NOW)
    assert none is not None
    assert "awaiting" not in none
    assert headers.woken(none, "ok", NOW) is None


def test_the_next_check_is_the_earliest_of_deadline_and_alarms() -> None:
    deadline = iso(NOW + timedelta(minutes=1))
    parked = headers.with_awaiting(header(deadlineAt=deadline), SLEEP, NOW)
    assert parked is not None
    assert parked["nextCheck"] == iso(NOW)
    woken = headers.woken(parked, "nap", NOW)
    assert woken is not None
    assert woken["nextCheck"] == deadline


def test_at_most_so_many_waiting_nodes_are_listed() -> None:
    full = header(awaiting=[{**WAIT, "nodeKey": f"n{number}"} for number in range(headers.MAX_LISTED)])
    assert headers.with_awaiting(full, WAIT, NOW) is None


def test_settling_what_is_settled_writes_nothing() -> None:
    settled = headers.settled(header(), [WAIT], (1, 3), NOW, quiet=True)
    assert settled is not None
    assert (settled["status"], settled["progress"]) == ("awaiting", {"done": 1, "total": 3})
    assert headers.settled(settled, [WAIT], (1, 3), NOW + timedelta(hours=1), quiet=True) is None


def test_a_deadline_counts_for_active_runs_only() -> None:
    assert headers.deadline_passed(header(deadlineAt=iso(NOW)), NOW)
    assert not headers.deadline_passed(header(deadlineAt=iso(NOW)), START)
    assert not headers.deadline_passed(header("completed", deadlineAt=iso(NOW)), NOW)
    assert not headers.deadline_passed(header(), NOW)


def test_repairs_wait_longer_each_time_while_nothing_moves() -> None:
    def allowed_after_s(document: HeaderDocument, oldest_visible_s: float = 0.0) -> float:
        for seconds in range(0, 10**6, 50):
            if headers.may_signal(document, NOW + timedelta(seconds=seconds), 300.0, oldest_visible_s):
                return seconds
        raise AssertionError("never allowed again")

    assert allowed_after_s(header()) == 0
    once = headers.repaired(header(), 3, NOW)
    twice = headers.repaired(once, 3, NOW)
    moved = headers.repaired(twice, 4, NOW)
    assert [allowed_after_s(document) for document in (once, twice, moved)] == [300, 600, 300]
    assert allowed_after_s(once, oldest_visible_s=1000.0) == 2000


def test_a_refused_verb_changes_nothing_and_says_so() -> None:
    with pytest.raises(RefusedError, match="already completed") as refused:
        headers.cancelled(header("completed"), NOW)
    assert not refused.value.retryable


def test_a_header_is_untouched_until_somebody_else_writes_it() -> None:
    blueprint = Blueprint("order", (NodeDefinition("a", "code"),))
    assert headers.is_untouched(header())
    assert headers.is_untouched(headers.pinned(header(), blueprint, START, queue="q"))
    assert not headers.is_untouched(headers.pinned(header(), blueprint, NOW, queue="q"))
    touched = headers.touched(headers.pinned(header(), blueprint, START, queue="q"), NOW)
    assert touched is not None
    assert not headers.is_untouched(touched)
    assert not headers.is_untouched(header("completed"))

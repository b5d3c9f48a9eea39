from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowcraft_api.conditions import condition_of
from flowcraft_api.pool_status import FlowcraftWorkerPoolStatus, RunCounts
from flowcraft_api.worker_pool import WorkerPoolSpec
from flowcraft_operator.planning.pods import WorkerProblem
from flowcraft_operator.planning.pool import (
    REACHABLE,
    BackendHealth,
    DeploymentSeen,
    PoolObserved,
    PoolPlan,
    measured_depth,
    plan_pool,
    wants_pods,
)
from flowcraft_operator.planning.scaling import Measured, Unmeasured

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SPEC = WorkerPoolSpec(image="example/shop:1", app="shop.flows:app")
REFUSED = BackendHealth(False, "BackendRefused", "Cosmos DB: access is denied")


def observed(**fields: Any) -> PoolObserved:
    seen = PoolObserved(
        queue_name="shop-orders",
        selector="flowcraft.io/pool=orders",
        generation=1,
        measurement=Measured(0, True, 0, 0),
        health=REACHABLE,
        deployment=DeploymentSeen(wanted=0, replicas=0, ready=0),
        runs=RunCounts(running=0, awaiting=0),
    )
    return replace(seen, **fields)


def said(plan: PoolPlan, name: str) -> tuple[str, str]:
    found = condition_of(plan.status.conditions, name)
    assert found is not None
    return found.status, found.reason


def test_an_idle_pool_is_ready_with_no_worker() -> None:
    plan = plan_pool(SPEC, observed(), NOW)
    assert plan.replicas == 0
    assert [each.type for each in plan.status.conditions] == ["Ready", "BackendReachable", "ScalingActive"]
    assert said(plan, "Ready") == ("True", "Idle")
    assert said(plan, "BackendReachable") == ("True", "Reachable")
    assert said(plan, "ScalingActive") == ("True", "FollowingQueue")
    assert plan.status.queue is not None
    assert plan.status.queue.summary == "0"


def test_the_table_of_a_busy_pool() -> None:
    busy = observed(
        measurement=Measured(32, False, 9, None, NOW - timedelta(seconds=75)),
        deployment=DeploymentSeen(wanted=3, replicas=2, ready=2),
        runs=RunCounts(running=17, awaiting=4),
    )
    status = plan_pool(SPEC, busy, NOW).status
    assert (status.replicas, status.desired_replicas, status.ready_replicas) == (2, 3, 2)
    assert status.queue is not None
    assert (status.queue.summary, status.queue.oldest_message_age) == ("32+", "75s")
    assert status.runs == RunCounts(running=17, awaiting=4)
    assert said(plan_pool(SPEC, busy, NOW), "Ready") == ("True", "WorkersReady")


@pytest.mark.parametrize(
    ("fields", "ready"),
    [
        ({"health": REFUSED}, ("False", "BackendRefused")),
        ({"health": BackendHealth()}, ("Unknown", "NotTriedYet")),
        ({"problem": WorkerProblem("ImagePullFailed", "x")}, ("False", "ImagePullFailed")),
        ({"obstacle": WorkerProblem("QueueConflict", "x")}, ("False", "QueueConflict")),
        (
            {"obstacle": WorkerProblem("QueueConflict", "x"), "health": REFUSED},
            ("False", "QueueConflict"),
        ),
        ({"deployment": DeploymentSeen(1, 0, 0, problem="quota")}, ("False", "WorkersNotCreated")),
        ({"measurement": Measured(1, True, 0)}, ("False", "Starting")),
    ],
)
def test_the_most_urgent_problem_is_the_reason_of_ready(
    fields: dict[str, Any], ready: tuple[str, str]
) -> None:
    assert said(plan_pool(SPEC, observed(**fields), NOW), "Ready") == ready


def test_a_pool_that_was_ready_stays_so_while_its_first_worker_starts() -> None:
    idle = plan_pool(SPEC, observed(), NOW).status
    plan = plan_pool(SPEC, observed(measurement=Measured(1, True, 0), previous=idle), NOW)
    assert said(plan, "Ready") == ("True", "Starting")


def test_a_pool_whose_queue_is_anothers_gets_no_worker() -> None:
    conflict = observed(
        obstacle=WorkerProblem("QueueConflict", "used by n/old"),
        measurement=Measured(400, True, 0),
        deployment=DeploymentSeen(4, 4, 4),
    )
    plan = plan_pool(SPEC, conflict, NOW)
    assert plan.replicas == 0
    assert said(plan, "ScalingActive") == ("False", "QueueConflict")


def test_a_spec_that_cannot_be_read_is_told_and_gets_no_worker() -> None:
    plan = plan_pool(None, observed(obstacle=WorkerProblem("InvalidSpec", "image is required")), NOW)
    assert plan.replicas == 0
    assert said(plan, "Ready") == ("False", "InvalidSpec")


def test_an_unknown_depth_holds_the_workers_and_is_shown_as_unknown() -> None:
    plan = plan_pool(
        SPEC, observed(measurement=Unmeasured("no answer"), deployment=DeploymentSeen(5, 5, 5)), NOW
    )
    assert plan.replicas == 5
    assert said(plan, "ScalingActive") == ("False", "QueueDepthUnknown")
    assert plan.status.queue is not None
    assert (plan.status.queue.summary, plan.status.queue.visible) == ("unknown", None)
    assert plan.status.queue.unknown_reason == "no answer"


def test_without_redis_the_pool_works_on_and_says_so() -> None:
    health = replace(REACHABLE, coordination="Redis: cannot be reached")
    plan = plan_pool(SPEC, observed(health=health), NOW)
    assert said(plan, "Ready") == ("True", "Idle")
    assert said(plan, "BackendReachable") == ("False", "CoordinationUnreachable")


def test_a_backend_that_answers_again_is_an_event() -> None:
    refused = plan_pool(SPEC, observed(health=REFUSED), NOW)
    assert [each.reason for each in refused.notices] == ["BackendRefused"]
    back = plan_pool(SPEC, observed(previous=refused.status), NOW)
    assert [each.reason for each in back.notices] == ["BackendReachable"]


def test_nothing_new_is_not_written_and_figures_alone_every_ten_seconds() -> None:
    told = plan_pool(SPEC, observed(), NOW).status
    known = {"previous": told, "written_at": NOW}
    assert not plan_pool(SPEC, observed(**known), NOW + timedelta(hours=1)).write
    deeper = observed(runs=RunCounts(running=1, awaiting=0), **known)
    assert not plan_pool(SPEC, deeper, NOW + timedelta(seconds=9)).write
    assert plan_pool(SPEC, deeper, NOW + timedelta(seconds=10)).write
    more = observed(measurement=Measured(9, True, 0), **known)
    assert plan_pool(SPEC, more, NOW + timedelta(seconds=1)).write


def test_times_of_transition_are_those_of_the_status() -> None:
    first = plan_pool(SPEC, observed(), NOW).status
    later = plan_pool(SPEC, observed(previous=first), NOW + timedelta(minutes=5)).status
    assert later.conditions == first.conditions


def test_what_is_neither_visible_nor_in_flight_is_delayed() -> None:
    assert measured_depth(3, exact=True, total=10, in_flight=2, oldest_visible=None).delayed == 5
    assert measured_depth(3, exact=True, total=4, in_flight=2, oldest_visible=None).delayed == 0
    assert measured_depth(32, exact=False, total=90, in_flight=2, oldest_visible=None).delayed is None
    assert measured_depth(3, exact=True, total=10, in_flight=None, oldest_visible=None).delayed is None


@pytest.mark.parametrize(
    ("deployment", "wanted"),
    [
        (None, False),
        (DeploymentSeen(0, 0, 0), False),
        (DeploymentSeen(2, 2, 2), False),
        (DeploymentSeen(2, 2, 1), True),
    ],
)
def test_pods_are_looked_at_only_where_one_is_not_ready(
    deployment: DeploymentSeen | None, wanted: bool
) -> None:
    assert wants_pods(deployment) is wanted


def test_a_status_survives_its_way_through_the_api_server() -> None:
    status = plan_pool(SPEC, observed(measurement=Measured(3, True, 1, 2, NOW)), NOW).status
    assert FlowcraftWorkerPoolStatus.model_validate(status.to_document()) == status

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_api.durations import Duration
from flowcraft_api.worker_pool import ScalingSpec, WorkerPoolSpec
from flowcraft_operator.planning.scaling import (
    Measured,
    QueueMeasurement,
    ScalingMemory,
    Unmeasured,
    needed_replicas,
    plan_replicas,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def spec(least: int = 0, most: int = 20, jobs: int = 16, cooldown: str = "60s") -> WorkerPoolSpec:
    scaling = ScalingSpec(
        min_replicas=least, max_replicas=most, jobs_per_replica=jobs, cooldown=Duration(cooldown)
    )
    return WorkerPoolSpec(image="example/shop:1", app="shop.flows:app", scaling=scaling)


def depth(visible: int, in_flight: int | None = 0, *, exact: bool = True, delayed: int = 0) -> Measured:
    return Measured(visible, exact, in_flight, delayed)


@pytest.mark.parametrize(
    ("visible", "in_flight", "wanted"),
    [(0, 0, 0), (1, 0, 1), (16, 0, 1), (17, 0, 2), (10, 10, 2), (0, 1, 1), (32, 400, 20), (24, 17, 3)],
)
def test_replicas_are_jobs_seen_by_jobs_per_replica_within_the_limits(
    visible: int, in_flight: int, wanted: int
) -> None:
    assert needed_replicas(spec(), depth(visible, in_flight)) == wanted


def test_jobs_per_replica_defaults_to_the_concurrency() -> None:
    pool = WorkerPoolSpec(image="example/shop:1", app="shop.flows:app", concurrency=4)
    assert needed_replicas(pool, depth(9)) == 3


def test_an_idle_pool_needs_its_minimum() -> None:
    assert needed_replicas(spec(least=2), depth(0)) == 2


def test_it_scales_up_from_zero_at_once() -> None:
    assert plan_replicas(spec(), depth(40), 0, ScalingMemory(), NOW).replicas == 3


def test_delayed_messages_need_no_worker() -> None:
    assert plan_replicas(spec(), depth(0, 0, delayed=5000), 0, ScalingMemory(), NOW).replicas == 0


def after(looks: Sequence[tuple[float, QueueMeasurement]], current: int, pool: WorkerPoolSpec) -> list[int]:
    """The number of workers after each look; seconds from the beginning and what is seen then."""
    memory, replicas = ScalingMemory(), []
    for second, seen in looks:
        plan = plan_replicas(pool, seen, current, memory, NOW + timedelta(seconds=second))
        memory, current = plan.memory, plan.replicas
        replicas.append(current)
    return replicas


def test_it_scales_down_only_after_the_cooldown() -> None:
    looks = [(0.0, depth(40)), (10.0, depth(0)), (59.0, depth(0)), (61.0, depth(0))]
    assert after(looks, 0, spec()) == [3, 3, 3, 0]


def test_it_scales_down_to_the_most_that_was_needed_within_the_cooldown() -> None:
    looks = [(0.0, depth(160)), (50.0, depth(60)), (61.0, depth(0)), (111.0, depth(0)), (130.0, depth(0))]
    assert after(looks, 0, spec()) == [10, 10, 4, 0, 0]


def test_an_operator_that_just_started_waits_a_cooldown_before_it_scales_down() -> None:
    assert after([(0.0, depth(0)), (30.0, depth(0)), (60.0, depth(0))], 5, spec()) == [5, 5, 0]


def test_what_is_unknown_holds_the_workers_and_is_never_zero() -> None:
    plan = plan_replicas(spec(), Unmeasured("access is denied"), 7, ScalingMemory(), NOW)
    assert (plan.replicas, plan.held) == (7, "access is denied")


def test_a_failed_measurement_begins_the_cooldown_anew() -> None:
    looks: list[tuple[float, QueueMeasurement]] = [
        (0.0, depth(40)),
        (30.0, depth(0)),
        (60.0, Unmeasured("no answer")),
        (61.0, depth(0)),
        (100.0, depth(0)),
        (122.0, depth(0)),
    ]
    assert after(looks, 0, spec()) == [3, 3, 3, 3, 3, 0]


def test_unknown_messages_in_flight_let_it_scale_up_but_not_down() -> None:
    assert plan_replicas(spec(), depth(40, None), 1, ScalingMemory(), NOW).replicas == 3
    held = plan_replicas(spec(cooldown="0s"), depth(0, None), 5, ScalingMemory(), NOW)
    assert held.replicas == 5
    assert "in flight" in held.held


def test_a_lower_maximum_holds_at_once() -> None:
    memory = plan_replicas(spec(), depth(320), 20, ScalingMemory(), NOW).memory
    assert plan_replicas(spec(most=4), depth(320), 20, memory, NOW).replicas == 4
    assert plan_replicas(spec(most=4), Unmeasured("no answer"), 20, memory, NOW).replicas == 4


@given(
    looks=st.lists(
        st.tuples(st.floats(0.1, 30), st.integers(0, 32), st.integers(0, 500) | st.none()), max_size=40
    ),
    least=st.integers(0, 5),
    extra=st.integers(1, 20),
    jobs=st.integers(1, 50),
    cooldown_s=st.integers(0, 90),
)
def test_replicas_stay_within_limits_never_lag_behind_need_and_the_memory_stays_small(
    looks: list[tuple[float, int, int | None]], least: int, extra: int, jobs: int, cooldown_s: int
) -> None:
    pool = spec(least, least + extra, jobs, f"{cooldown_s}s")
    memory, current, now = ScalingMemory(), least, NOW
    for passed_s, visible, in_flight in looks:
        now += timedelta(seconds=passed_s)
        seen = depth(visible, in_flight)
        plan = plan_replicas(pool, seen, current, memory, now)
        assert least <= plan.replicas <= least + extra
        assert plan.replicas >= needed_replicas(pool, seen)
        if plan.replicas < current:
            assert in_flight is not None
        assert len(plan.memory.needs) <= extra + 1
        memory, current = plan.memory, plan.replicas

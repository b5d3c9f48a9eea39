"""Figures and verdicts are made of laps without measuring anything."""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Laps, figures, verdicts
from benchmarks.laps import Lap
from benchmarks.table import table, targets


def a_lap(nodes: int = 100, seconds: float = 1.0, **requests: dict[str, int]) -> Lap:
    return Lap(nodes, seconds, cpu_s=0.2, peak_bytes=100_000_000, requests=requests)


def engine_lap(seconds: float = 1.0) -> Lap:
    return a_lap(
        seconds=seconds,
        cosmos={"Create contexts": 150, "Read statuses": 30},
        queue={"send": 20, "receive": 4, "delete": 20},
        redis={"claim": 120, "discharge": 20, "heartbeat": 7, "HELLO": 3},
    )


def measured(engine: float = 1.0, bare: float = 1.0) -> dict[str, dict[str, Any]]:
    laps = Laps(
        azure={"engine": [engine_lap(engine)], "bare": [engine_lap(bare)], "floor": [a_lap(seconds=0.2)]},
        embedded={1: [a_lap(seconds=0.1)], 8: [a_lap(seconds=0.06)], 64: [a_lap(seconds=0.04)]},
        raw_commits_per_s=[6000.0],
    )
    return {"linear5": figures(laps)}


def test_the_figures_have_the_shape_that_users_were_promised() -> None:
    linear5 = measured()["linear5"]
    promised = {
        "nodes_per_s",
        "cosmos_requests_per_node",
        "queue_requests_per_node",
        "redis_round_trips_per_node",
        "cpu_ms_per_node",
    }
    assert promised <= linear5["azure"].keys()
    assert all(linear5[part]["nodes_per_s"] > 0 for part in ("azure", "embedded", "bare", "floor"))


def test_requests_are_counted_without_what_connections_and_heartbeats_cost() -> None:
    azure = measured()["linear5"]["azure"]
    assert azure["cosmos_requests_per_node"] == 1.8
    assert azure["queue_requests_per_node"] == 0.44
    assert azure["redis_round_trips_per_node"] == 1.4


def test_the_median_lap_counts() -> None:
    laps = Laps(
        azure={name: [a_lap(seconds=s) for s in (1.0, 2.0, 9.0)] for name in ("engine", "bare", "floor")}
    )
    assert figures(laps)["azure"]["nodes_per_s"] == 50.0


def test_a_machine_that_is_slow_for_a_while_is_slow_for_both() -> None:
    engine = [a_lap(seconds=seconds) for seconds in (1.0, 8.0, 9.0)]
    bare = [a_lap(seconds=seconds * 0.9) for seconds in (1.0, 8.0, 9.0)]
    found = figures(Laps(azure={"engine": engine, "bare": bare, "floor": bare}))
    assert found["azure"]["nodes_per_s_of_bare"] == 0.9


def test_targets_are_reached_or_not() -> None:
    assert all(verdict.reached for verdict in verdicts(measured()))
    slow = [verdict for verdict in verdicts(measured(engine=1.5)) if not verdict.reached]
    assert [verdict.measured for verdict in slow] == ["0.67"]


def test_embedded_is_held_to_the_disk_where_that_is_slow() -> None:
    linear5 = measured()["linear5"]
    linear5["embedded"] |= {"nodes_per_s": 600.0, "raw_commits_per_s": 1000.0}
    assert all(verdict.reached for verdict in verdicts({"linear5": linear5}))
    linear5["embedded"]["raw_commits_per_s"] = 1300.0
    assert [v.what for v in verdicts({"linear5": linear5}) if not v.reached] == ["linear5 embedded: nodes/s"]


def test_throughput_that_does_not_grow_with_concurrent_runs_is_told() -> None:
    linear5 = measured()["linear5"]
    linear5["embedded"]["nodes_per_s_by_concurrent_runs"] = {"1": 2500.0, "8": 2400.0, "64": 2300.0}
    assert [v.wanted for v in verdicts({"linear5": linear5}) if not v.reached] == ["growing"]


def test_a_backend_that_was_not_measured_has_no_row_and_no_verdict() -> None:
    laps = Laps(embedded={1: [a_lap()]}, raw_commits_per_s=[5000.0])
    only_embedded = {"fan8": figures(laps)}
    assert verdicts(only_embedded) == []
    assert "Azure" not in table(only_embedded)


def test_the_tables_say_what_is_not_reached() -> None:
    text = targets(verdicts(measured(engine=1.5)))
    assert "NO" in text
    assert "at least 0.8" in text

"""From laps to figures, and from figures to what is reached. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from benchmarks.laps import Lap

BESIDE_RUNS: Final = frozenset(
    {"HELLO", "AUTH", "CLIENT", "SELECT", "PING", "READONLY", "SUBSCRIBE", "UNSUBSCRIBE", "heartbeat"}
)
"""Round trips to Redis of connections and workers, however many runs there are."""
BARE_RATIO: Final = 0.8
MEMORY_MB: Final = 250.0
EMBEDDED_NODES_PER_S: Final = 2000.0
REQUESTS: Final[Mapping[str, float]] = {"linear5": 2.4, "fan8": 4.2}
"""Cosmos and queue requests a node, at most; wide1000 is held to what fan8 measures."""
ROUND_TRIPS: Final[Mapping[str, float]] = {"linear5": 1.6, "fan8": 3.0, "wide1000": 3.0}
STEADY: Final = 0.95
"""A figure that is at least so much of another counts as no smaller: laps differ by more."""


@dataclass(slots=True)
class Laps:
    """All laps of one workflow.

    Attributes:
        azure: By contestant (engine, bare, floor).
        embedded: By how many runs were under way at a time.
        raw_commits_per_s: Of the disk, measured between the embedded laps.
    """

    azure: dict[str, list[Lap]] = field(default_factory=dict)
    embedded: dict[int, list[Lap]] = field(default_factory=dict)
    raw_commits_per_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured."""

    what: str
    measured: str
    wanted: str
    reached: bool


def figures(laps: Laps) -> dict[str, Any]:
    """The figures of one workflow, as ``make bench OUT=`` writes them; of laps the median counts."""
    found: dict[str, Any] = {}
    if laps.azure:
        found["azure"] = {
            **_speed(laps.azure["engine"]),
            "nodes_per_s_of_bare": _ratio(laps.azure["engine"], laps.azure["bare"]),
            **_requests(laps.azure["engine"]),
        }
        found["bare"] = {**_speed(laps.azure["bare"]), **_requests(laps.azure["bare"])}
        found["floor"] = _speed(laps.azure["floor"])
    if laps.embedded:
        most = max(laps.embedded)
        found["embedded"] = {
            **_speed(laps.embedded[most]),
            "nodes_per_s_by_concurrent_runs": {
                str(count): _nodes_per_s(some) for count, some in sorted(laps.embedded.items())
            },
            "raw_commits_per_s": round(median(laps.raw_commits_per_s), 1),
        }
    return found


def _speed(laps: Sequence[Lap]) -> dict[str, float]:
    return {
        "nodes_per_s": _nodes_per_s(laps),
        "cpu_ms_per_node": round(median(lap.cpu_s / lap.nodes for lap in laps) * 1000, 3),
        "peak_memory_mb": round(max(lap.peak_bytes for lap in laps) / 1e6, 1),
    }


def _nodes_per_s(laps: Sequence[Lap]) -> float:
    return round(median(lap.nodes_per_s for lap in laps), 1)


def _ratio(laps: Sequence[Lap], others: Sequence[Lap]) -> float:
    """Speed against the laps run beside them: what slows a machine down for a while slows both."""
    pairs = zip(laps, others, strict=True)
    return round(median(lap.nodes_per_s / other.nodes_per_s for lap, other in pairs), 3)


def _requests(laps: Sequence[Lap]) -> dict[str, float]:
    nodes = sum(lap.nodes for lap in laps)
    names = {"cosmos": "cosmos_requests", "queue": "queue_requests", "redis": "redis_round_trips"}
    return {
        f"{name}_per_node": round(sum(sent(lap, service) for lap in laps) / nodes, 3)
        for service, name in names.items()
    }


def sent(lap: Lap, service: str) -> int:
    """Requests of a service; of Redis those of runs."""
    counts = lap.requests.get(service, {})
    return sum(count for name, count in counts.items() if service != "redis" or name not in BESIDE_RUNS)


def verdicts(measured: Mapping[str, Mapping[str, Any]]) -> list[Verdict]:
    """What is wanted of the figures by workflow, and whether they reach it; parts not measured have none."""
    found: list[Verdict] = []
    for workflow, parts in measured.items():
        if "azure" in parts:
            found += _on_azure(workflow, parts, measured)
        if "embedded" in parts and workflow == "linear5":
            found += _on_disk(parts["embedded"])
    return found


def requests_per_node(azure: Mapping[str, float]) -> float:
    """Requests of Cosmos DB and the queue together, a node."""
    return azure["cosmos_requests_per_node"] + azure["queue_requests_per_node"]


def _on_azure(
    workflow: str, parts: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]
) -> list[Verdict]:
    azure = parts["azure"]
    limit, note = REQUESTS.get(workflow), ""
    if limit is None and "azure" in measured.get("fan8", {}):
        limit, note = requests_per_node(measured["fan8"]["azure"]), " (fan8's)"
    found = []
    if limit is not None:
        what = f"{workflow}: Cosmos and queue requests a node"
        found.append(_at_most(what, requests_per_node(azure), limit, note))
    trips = azure["redis_round_trips_per_node"]
    found.append(_at_most(f"{workflow}: Redis round trips a node", trips, ROUND_TRIPS[workflow]))
    if workflow in REQUESTS:
        ratio = azure["nodes_per_s_of_bare"]
        what = f"{workflow}: nodes/s, of the bare sequence's"
        found.append(Verdict(what, f"{ratio:.2f}", f"at least {BARE_RATIO}", ratio >= BARE_RATIO))
    else:
        what = f"{workflow}: peak memory of the worker, MB"
        found.append(_at_most(what, azure["peak_memory_mb"], MEMORY_MB))
    return found


def _at_most(what: str, value: float, limit: float, note: str = "") -> Verdict:
    return Verdict(what, f"{value:.4g}", f"at most {limit:.4g}{note}", value <= limit)


def _on_disk(embedded: Mapping[str, Any]) -> list[Verdict]:
    speed, raw = embedded["nodes_per_s"], embedded["raw_commits_per_s"]
    wanted = min(raw / 2, EMBEDDED_NODES_PER_S)
    by_count = embedded["nodes_per_s_by_concurrent_runs"]
    steps = list(by_count.values())
    grows = steps[-1] > steps[0] and all(
        after >= before * STEADY for before, after in itertools.pairwise(steps)
    )
    return [
        Verdict(
            "linear5 embedded: nodes/s",
            f"{speed:.0f}",
            f"at least {wanted:.0f} (half of {raw:.0f} raw commits/s, or 2000)",
            speed >= wanted,
        ),
        Verdict(
            f"linear5 embedded: nodes/s at {', '.join(by_count)} concurrent runs",
            ", ".join(f"{value:.0f}" for value in steps),
            "growing",
            grows,
        ),
    ]

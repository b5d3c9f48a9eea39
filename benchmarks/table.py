"""The figures as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.figures import Verdict, requests_per_node
from benchmarks.in_memory import Measured

HEADINGS = (
    "workflow",
    "on",
    "nodes/s",
    "Cosmos",
    "queue",
    "both",
    "Redis",
    "CPU ms",
    "peak MB",
)
PARTS = {
    "azure": "Azure stand-ins: engine",
    "bare": "Azure stand-ins: bare sequence",
    "floor": "Azure stand-ins: one create a node",
    "embedded": "embedded, on disk",
}


def table(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a workflow and contestant; requests and CPU are a node's."""
    rows = [
        _row(workflow, title, parts[part])
        for workflow, parts in measured.items()
        for part, title in PARTS.items()
        if part in parts
    ]
    return tabulate(rows, HEADINGS, floatfmt=("", "", ".0f", ".2f", ".2f", ".2f", ".2f", ".2f", ".0f"))


def _row(workflow: str, title: str, part: Mapping[str, Any]) -> list[Any]:
    counted = "cosmos_requests_per_node" in part
    return [
        workflow,
        title,
        part["nodes_per_s"],
        part.get("cosmos_requests_per_node"),
        part.get("queue_requests_per_node"),
        requests_per_node(part) if counted else None,
        part.get("redis_round_trips_per_node"),
        part["cpu_ms_per_node"],
        part["peak_memory_mb"],
    ]


def memory_table(measured: Measured) -> str:
    """One line a workflow that runs in memory: warm, and the first lap of a process."""
    cold, warm = measured.cold, measured.warm
    rows: list[tuple[Any, ...]] = [
        (
            name,
            *(cold.ours[name], cold.theirs[name], cold.ratios[name]),
            *(speed, warm.theirs[name], warm.ratios[name]),
        )
        for name, speed in warm.ours.items()
    ]
    rows += [(name, None, None, None, speed) for name, speed in measured.nodes_per_s.items()]
    headings = ("in memory", "first lap", "original's", "ratio", "warm", "original's", "ratio")
    return tabulate(rows, headings, floatfmt=("", ".0f", ".0f", ".2f", ".0f", ".0f", ".2f"))


def targets(verdicts: Sequence[Verdict]) -> str:
    """One line a target."""
    rows = [
        (verdict.what, verdict.measured, verdict.wanted, "yes" if verdict.reached else "NO")
        for verdict in verdicts
    ]
    return tabulate(rows, ("target", "measured", "wanted", "reached"), disable_numparse=True)

"""Node keys as rows of a table, and one node key in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from flowcraft_api.durations import elapsed
from flowcraft_cli.run_nodes import LEFT, NodeView
from flowcraft_cli.timeline import bars

if TYPE_CHECKING:
    from flowcraft.blueprint import Blueprint
    from flowcraft.records import NodeRecord

COLUMNS: Final = ("NODE", "STATUS", "ACTION", "ATTEMPT", "TOOK", "TIMELINE", "NOTE")
MAX_SHOWN: Final = 2000
"""Characters of an input or output that are shown as text; `-o json` shows all."""


def rows(nodes: Sequence[NodeView], now: datetime) -> Iterator[list[str]]:
    """A row for each, in the columns of ``COLUMNS``."""
    for view, bar in zip(nodes, bars(nodes, now), strict=True):
        record = view.record
        action = (record.action or "") if record else ""
        attempt = str(record.attempt or "") if record else ""
        yield [view.key, view.status, action, attempt, took(view), bar, note_of(view)]


def took(view: NodeView) -> str:
    """How long it worked, as text."""
    if view.started is None or view.finished is None or view.status == "awaiting" or view.count > 1:
        return ""
    return elapsed((view.finished - view.started).total_seconds())


def note_of(view: NodeView) -> str:
    """Why it is as it is, in one line."""
    record = view.record
    if record is not None and record.error:
        return error_line(record.error)
    if view.status in LEFT.values():
        return "had not ended when the run did"
    if record is None:
        return view.said
    if record.status == "awaiting":
        return _waits(record)
    return "by its fallback" if record.fallback else ""


def _waits(record: NodeRecord) -> str:
    if record.decision is not None:
        return "decided, about to go on"
    told_by = record.waits_for or {}
    if record.kind in ("wait", "webhook"):
        address = told_by.get("address")
        return f"waits for a call of {address}" if address else "waits for a decision: flowcraft decide"
    if record.kind == "run":
        return f"waits for run {told_by.get('runId', '')}"
    if record.kind == "children":
        return "waits for its children"
    return f"until {record.wake_at}" if record.wake_at else ""


def error_line(error: Any) -> str:
    """An error with the line of the user's code that raised it."""
    line = f" ({error['line']})" if error.get("line") else ""
    return f"{error.get('type', 'error')}: {error.get('message', '')}{line}"


def in_full(view: NodeView, given: Any, blueprint: Blueprint | None) -> Iterator[str]:
    """All of one node key, line by line; ``given`` is its input."""
    record = view.record
    yield f"{'Node:':<12}{view.key}"
    facts: dict[str, str] = {"Status": view.status, "Progress": view.said, "Took": took(view)}
    if record is not None:
        facts |= {
            "Action": record.action or "",
            "Attempts": f"{record.attempt or ''}{', the last by its fallback' if record.fallback else ''}",
            "Started": record.started_at,
            "Finished": record.finished_at,
            "Worker": record.worker,
            "Waits for": note_of(view) if record.status == "awaiting" else "",
            "Context": ", ".join(record.wrote),
        }
    for name, value in facts.items():
        if value:
            yield f"{name + ':':<12}{value}"
    if given is not None:
        yield f"{'Input:':<12}{shown(given)}"
    if record is not None:
        yield from _result(record, blueprint)


def _result(record: NodeRecord, blueprint: Blueprint | None) -> Iterator[str]:
    if record.output is not None and record.status == "completed":
        yield f"{'Output:':<12}{shown(record.output)}"
    for position in record.taken if blueprint is not None else ():
        assert blueprint is not None  # noqa: S101  nothing is walked without it
        edge = blueprint.edges[position]
        why = ", ".join(part for part in (edge.action, edge.condition) if part)
        yield f"{'Took edge:':<12}{edge.source} -> {edge.target}{f' ({why})' if why else ''}"
    if record.error:
        yield f"{'Error:':<12}{record.error.get('type', 'error')}: {record.error.get('message', '')}"
        for name, field in (("Raised at:", "line"), ("After:", "cause")):
            if record.error.get(field):
                yield f"{name:<12}{record.error[field]}"


def shown(value: Any) -> str:
    """A value as text of bounded length."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_SHOWN:
        return text
    return f"{text[:MAX_SHOWN]}... ({len(text)} characters; -o json shows all)"

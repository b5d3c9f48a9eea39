"""When each node key worked, as a bar beside it: one line of text has room for a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from flowcraft_cli.run_nodes import NodeView

WIDTH: Final = 24
_MARK: Final = {"running": ">", "awaiting": "~", "cancelled": "~", "unfinished": "~", "failed": "x"}
_OPEN: Final = frozenset({"awaiting", "cancelled", "unfinished"})
"""What has a record and has not ended: it waits, or waited until its run ended."""


def bars(nodes: Sequence[NodeView], now: datetime) -> list[str]:
    """A bar for each: from its first attempt to its end, in the time from the first start to the last end.

    Args:
        nodes: The node keys.
        now: Up to when those wait that have not ended: the run's end if it has ended.
    """
    spans = [_span(view, now) for view in nodes]
    known = [span for span in spans if span is not None]
    if not known:
        return ["" for _ in nodes]
    begin, end = min(start for start, _ in known), max(stop for _, stop in known)
    whole = (end - begin).total_seconds()
    return [_bar(view, span, begin, whole) for view, span in zip(nodes, spans, strict=True)]


def _span(view: NodeView, now: datetime) -> tuple[datetime, datetime] | None:
    if view.started is None or view.status == "skipped":
        return None
    return view.started, now if view.status in _OPEN or view.finished is None else view.finished


def _bar(view: NodeView, span: tuple[datetime, datetime] | None, begin: datetime, whole: float) -> str:
    if span is None:
        return ""
    first, last = ((moment - begin).total_seconds() / whole if whole else 0.0 for moment in span)
    left = min(int(first * WIDTH), WIDTH - 1)
    right = max(left + 1, min(WIDTH, round(last * WIDTH)))
    mark = _MARK.get(view.status, "=")
    drawn = mark * (right - left)
    if view.waits and mark in "=x":
        drawn = "~" * (right - left - (mark == "x")) + mark * (mark == "x")
    return "." * left + drawn + "." * (WIDTH - right)

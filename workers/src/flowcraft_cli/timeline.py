"""When each node key worked, as a bar beside it: one line of text has room for a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from flowcraft_cli.run_nodes import NodeView

WIDTH: Final = 24
_MARK: Final = {"running": ">", "awaiting": "~", "failed": "x"}


def bars(nodes: Sequence[NodeView], now: datetime) -> list[str]:
    """A bar for each: from its first attempt to its end, in the time from the first start to the last end."""
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
    waits = view.status == "awaiting"
    return view.started, now if waits or view.finished is None else view.finished


def _bar(view: NodeView, span: tuple[datetime, datetime] | None, begin: datetime, whole: float) -> str:
    if span is None:
        return ""
    first, last = ((moment - begin).total_seconds() / whole if whole else 0.0 for moment in span)
    left = min(int(first * WIDTH), WIDTH - 1)
    right = max(left + 1, min(WIDTH, round(last * WIDTH)))
    return "." * left + _MARK.get(view.status, "=") * (right - left) + "." * (WIDTH - right)

"""A header query as SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flowcraft.ports.facts import HeaderQuery


def matching_runs(query: HeaderQuery) -> tuple[str, tuple[Any, ...]]:
    """The statement that gives the run ids of matching headers, and its parameters."""
    condition, parameters = _conditions(query)
    return f"SELECT run_id FROM header WHERE {condition}", parameters  # noqa: S608 - no value in it


def page_of_headers(query: HeaderQuery, run_ids: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
    """The statement that gives etag and document of those of the runs that (still) match."""
    condition, parameters = _conditions(query)
    return (
        "SELECT etag, document FROM header"  # noqa: S608 - no value in it
        f" WHERE run_id IN (SELECT value FROM json_each(?)) AND {condition}",
        (json.dumps(list(run_ids)), *parameters),
    )


def _conditions(query: HeaderQuery) -> tuple[str, tuple[Any, ...]]:
    """The query as one condition, and its parameters.

    A plus sign keeps a column's index out of the plan where another one narrows more: finished runs of the
    queue are many, and only a time or a status leaves them out.
    """
    conditions: list[str] = []
    parameters: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if query.queue is not None:
        add(f"{'' if query.changed_since is not None else '+'}queue IN (?, '')", query.queue)
    if query.statuses is not None:
        add(f"status IN ({','.join('?' * len(query.statuses))})", *query.statuses)
    if query.changed_since is not None:
        add("changed_at >= ?", int(query.changed_since.timestamp()))
    if query.due_at is not None:
        add("next_check <= ?", query.due_at.timestamp())
    if query.untouched_since is not None:
        add("last_updated < ?", query.untouched_since.timestamp())
    if query.expired_at is not None:
        add("expires_at <= ?", query.expired_at.timestamp())
    if query.run_ids is not None:
        add("run_id IN (SELECT value FROM json_each(?))", json.dumps(list(query.run_ids)))
    return " AND ".join(conditions) or "TRUE", tuple(parameters)

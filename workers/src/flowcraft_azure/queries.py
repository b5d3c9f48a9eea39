"""Cosmos DB queries as text and parameters. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from flowcraft.ports import HeaderQuery
from flowcraft.times import iso, parse_time
from flowcraft_api.wire import HeaderDocument
from flowcraft_azure.documents import HEADER_FIELDS, RECORD_FIELDS

EPOCH_MS_ABOVE: Final = 100_000_000_000
"""Numbers from here are epoch milliseconds, below epoch seconds."""


class Query(NamedTuple):
    """A parameterised query."""

    text: str
    parameters: Mapping[str, Any]


def _projection(names: Sequence[str]) -> str:
    return ", ".join(f'c["{name}"]' for name in (*names, "_etag"))


_RECORDS: Final = _projection(RECORD_FIELDS)
_HEADERS: Final = _projection((*HEADER_FIELDS, "_ts"))

# A hand-written context item, whose id is the run's, may have any `type` of its own.
ALL_RECORDS: Final = Query(f"SELECT {_RECORDS} FROM c WHERE c.type = 'n' AND c.id != c.runId", {})  # noqa: S608 - constant names
ALL_IDS: Final = Query("SELECT c.id FROM c", {})


def items(item_ids: Sequence[str], *, with_packs: bool) -> Query:
    """Whole items by id; with the packs of context keys of the partition where asked for."""
    named = _named("id", item_ids)
    packs = " OR (c.type = 'p' AND c.id != c.runId)" if with_packs else ""
    return Query(f"SELECT * FROM c WHERE c.id IN ({', '.join(named)}){packs}", named)  # noqa: S608


def resolved_records(item_ids: Sequence[str]) -> Query:
    """Resolved node records by item id, without outputs."""
    named = _named("id", item_ids)
    text = f"SELECT {_RECORDS} FROM c WHERE c.id IN ({', '.join(named)}) AND c.status != 'awaiting'"  # noqa: S608
    return Query(text, named)


def headers(query: HeaderQuery, run_ids: Sequence[str] | None = None) -> Query:
    """Header projections that match, in all partitions.

    Hand-written headers have no type, no queue, and times as ISO text or as epoch seconds or milliseconds. A
    header that was adopted from the partition without key is listed once, by its copy.
    """
    where = ["(NOT IS_DEFINED(c.type) OR c.type = 'header')", "NOT IS_DEFINED(c.adoptedAt)"]
    values: dict[str, Any] = {}
    if query.queue is not None:
        where.append("(c.queue = @queue OR NOT IS_DEFINED(c.queue) OR IS_NULL(c.queue))")
        values["@queue"] = query.queue
    if query.statuses is not None:
        named = _named("status", query.statuses)
        where.append(f"c.status IN ({', '.join(named)})" if named else "false")
        values.update(named)
    if run_ids is not None:
        named = _named("id", run_ids)
        where.append(f"c.id IN ({', '.join(named)})" if named else "false")
        values.update(named)
    if query.changed_since is not None:
        where.append("c._ts >= @changed")
        values["@changed"] = int(query.changed_since.timestamp())
    for name, field, moment in (
        ("due", "nextCheck", query.due_at),
        ("expired", "expiresAt", query.expired_at),
    ):
        if moment is not None:
            where.append(f"c.{field} <= @{name}")
            values[f"@{name}"] = iso(moment)
    if query.untouched_since is not None:
        where.append(_before("lastUpdated", "untouched"))
        values.update(_moments("untouched", query.untouched_since))
    return Query(f"SELECT {_HEADERS} FROM c WHERE {' AND '.join(where)}", values)  # noqa: S608


def untouched(header: HeaderDocument, moment: datetime) -> bool:
    """Whether a listed header was last updated before the moment, by its own word."""
    item = cast("Mapping[str, Any]", header)
    last = parse_time(item.get("lastUpdated")) or parse_time(item.get("_ts"))
    return last is None or last < moment


def _before(field: str, name: str) -> str:
    # A comparison of different types is undefined, hence false: text meets only text, numbers only numbers.
    return (
        f"(c.{field} < @{name} OR c.{field} < @{name}S "
        f"OR (c.{field} >= {EPOCH_MS_ABOVE} AND c.{field} < @{name}Ms) "
        f"OR (NOT (IS_STRING(c.{field}) OR IS_NUMBER(c.{field})) AND c._ts < @{name}S))"
    )


def _moments(name: str, moment: datetime) -> dict[str, Any]:
    # Text is compared to the next whole second, because writers differ in how they write fractions and UTC
    # ("…:07Z", "…:07.5Z", "…:07+00:00"); the exact word is had from `untouched`.
    seconds = moment.timestamp()
    upper = datetime.fromtimestamp(int(seconds) + 1, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {f"@{name}": upper, f"@{name}S": seconds, f"@{name}Ms": seconds * 1000}


def _named(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"@{name}{position}": value for position, value in enumerate(values)}

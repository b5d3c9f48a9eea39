"""Queries: parameters only, no values in the text; times of every writer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowcraft.ports import HeaderQuery
from flowcraft.records import NodeRecord
from flowcraft_azure import queries

NOON = datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)


def test_no_value_is_in_the_text() -> None:
    hostile = "x' OR 1=1 --"
    query = HeaderQuery(queue=hostile, statuses=[hostile], run_ids=[hostile], untouched_since=NOON)
    text, parameters = queries.headers(query, [hostile])
    assert hostile not in text
    assert list(parameters.values()).count(hostile) == 3
    assert hostile not in queries.items([hostile], with_packs=True).text
    assert hostile not in queries.resolved_records([hostile]).text


def test_every_parameter_is_named_in_the_text() -> None:
    query = HeaderQuery(
        queue="q",
        statuses=["running"],
        changed_since=NOON,
        due_at=NOON,
        untouched_since=NOON,
        expired_at=NOON,
    )
    text, parameters = queries.headers(query, ["a", "b"])
    assert all(name in text for name in parameters)


def test_a_projection_never_asks_for_input_blueprint_or_outputs() -> None:
    text, _ = queries.headers(HeaderQuery())
    selected = text.split(" FROM ")[0]
    assert '"input"' not in selected
    assert '"blueprint"' not in selected
    assert '"output"' not in queries.ALL_RECORDS.text
    assert '"output"' not in queries.resolved_records(["n:a"]).text


def test_a_projection_of_records_asks_for_everything_else() -> None:
    everything = NodeRecord(
        "a", "a", "awaiting", output=1, action="x", taken=(1,), values={1: 2}, attempt=1, error={"type": "E"},
        started_at="t", finished_at="t", worker="w", delivery="d", seq=1, kind="wait", wake_at="t",
        decision={"action": "y"},
    )  # fmt: skip
    selected = queries.ALL_RECORDS.text.split(" FROM ")[0]
    for name in everything.to_document().keys() - {"output"}:
        assert f'c["{name}"]' in selected


def test_an_empty_list_of_statuses_or_runs_matches_nothing() -> None:
    assert " AND false" in queries.headers(HeaderQuery(statuses=[])).text
    assert " AND false" in queries.headers(HeaderQuery(), []).text


@pytest.mark.parametrize(
    ("last_updated", "expected"),
    [
        ("2026-01-31T11:59:59Z", True),
        ("2026-01-31T12:00:00.499Z", True),
        ("2026-01-31T12:00:00.500Z", False),
        ("2026-01-31T14:00:00+02:00", True),
        (1_769_860_800, True),
        (1_769_860_801, False),
        (1_769_860_800_499, True),
        (1_769_860_800_501, False),
        (None, True),
        ("no time", True),
    ],
)
def test_last_updated_is_compared_as_the_time_it_means(last_updated: object, expected: bool) -> None:
    header = {"id": "r", "lastUpdated": last_updated}
    assert queries.untouched(header, NOON) is expected  # type: ignore[arg-type]

"""Times as others write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowcraft.times import parse_time

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", ["2026-03-01T00:00:00Z", 1772323200, 1772323200000, "2026-03-01"])
def test_iso_text_and_epochs_are_read(value: object) -> None:
    assert parse_time(value) == MARCH


@pytest.mark.parametrize(
    "value", [None, True, "", "tomorrow", {}, 1e308, -1e308, 10**400, 1e18, float("nan")]
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert parse_time(value) is None

"""Durations of sleeps, in text or in upstream's milliseconds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.durations import duration_s, duration_text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30s", 30), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("250ms", 0.25), ("0s", 0),
        (1500, 1.5), (0, 0), (0.5, 0.0005), (timedelta(minutes=1), 60),
    ],
)  # fmt: skip
def test_durations_are_read(value: Any, seconds: float) -> None:
    assert duration_s(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "10",
        "-5s",
        "1.5h",
        "5 s",
        "1w",
        None,
        True,
        -1,
        float("nan"),
        float("inf"),
        "999999999d",
        [],
        "\u0661s",
    ],
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        duration_s(value)


@given(st.timedeltas(timedelta(0), timedelta(days=36_000)))
def test_a_timedelta_written_as_text_is_the_same_to_the_millisecond(span: timedelta) -> None:
    assert duration_s(duration_text(span)) == pytest.approx(span.total_seconds(), abs=0.0006)

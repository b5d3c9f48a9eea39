"""Durations are read by GEP-2257's grammar and printed as kubectl prints them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft_api.durations import (
    DURATION_PATTERN,
    Duration,
    compact_duration,
    elapsed,
    human_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("1h", 3600),
        ("1h30m", 5400),
        ("90s", 90),
        ("10s30m1h", 5410),
        ("1s500ms", 1.5),
        ("1h1m1s1ms", 3661.001),
        ("168h", 604_800),
        ("99999h99999m99999s99999ms", 99999 * 3661.001),
    ],
)
def test_the_grammar_gives_seconds(text: str, seconds: float) -> None:
    assert Duration(text).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1 h", "1d", "-1s", "1.5h", "100000s", "1h1h1h1h1h", "1h\n", "h", "1H", "5 minutes", "1µs"],
)
def test_what_is_outside_the_grammar_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 30s, 5m or 1h30m"):
        Duration(text)


@given(st.from_regex(re.compile(DURATION_PATTERN, re.ASCII), fullmatch=True))
def test_every_text_of_the_grammar_is_read_and_kept_as_it_was_written(text: str) -> None:
    text = text.rstrip("\n")
    duration = Duration(text)
    assert duration == text
    assert compact_duration(duration.seconds).milliseconds == min(duration.milliseconds, 99_999 * 3_600_000)


@given(st.floats(min_value=-10, max_value=400_000_000))
def test_a_compact_duration_is_of_the_grammar_and_as_long_as_asked(seconds: float) -> None:
    written = compact_duration(seconds)
    assert written.seconds == pytest.approx(min(max(seconds, 0), 99_999 * 3600), abs=0.0006)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (10.9, "10s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3600 * 3 - 1, "179m"),
        (3600 * 3, "3h"),
        (3600 * 3 + 300, "3h5m"),
        (3600 * 8, "8h"),
        (3600 * 47, "47h"),
        (3600 * 48, "2d"),
        (3600 * 51, "2d3h"),
        (86400 * 8, "8d"),
        (86400 * 729, "729d"),
        (86400 * 730, "2y"),
        (86400 * 735, "2y5d"),
        (86400 * 365 * 8, "8y"),
    ],
)
def test_an_age_is_printed_as_kubectl_prints_it(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.04, "0s"),
        (1.2, "1.2s"),
        (8.0, "8s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (10.4, "10s"),
        (125, "2m5s"),
    ],
)
def test_a_run_that_is_short_is_timed_in_tenths(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text

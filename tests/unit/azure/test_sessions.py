"""Session tokens never go back within a process."""

from __future__ import annotations

import pytest

from flowcraft_azure.sessions import SessionTracker, sendable


def test_a_later_answer_with_an_older_position_gives_the_newer_token() -> None:
    tracker = SessionTracker()
    tracker.newest("0:-1#11#1=7")

    assert tracker.newest("0:-1#10#1=6") == "0:-1#11#1=7"


def test_a_newer_position_is_given_as_it_is() -> None:
    tracker = SessionTracker()
    tracker.newest("0:-1#9")

    assert tracker.newest("0:-1#10") == "0:-1#10"


def test_partitions_are_told_apart() -> None:
    tracker = SessionTracker()
    tracker.newest("0:-1#11")

    assert tracker.newest("1:-1#3") == "1:-1#3"


@pytest.mark.parametrize("token", ["", "something else", "0:-1#x"])
def test_a_token_of_unknown_form_stays_as_it_is(token: str) -> None:
    assert SessionTracker().newest(token) == token


@pytest.mark.parametrize("token", ["0:-1#42", "0:1234", "12:3#4#1=5#2=-1", "0:-1#1,1:-1#2"])
def test_a_token_of_the_service_is_sent(token: str) -> None:
    assert sendable(token) == token


@pytest.mark.parametrize("token", ["", "embedded", "0", "0:", "0:1\r\nx-ms-date: 1", "0:1;2", "é:1"])
def test_what_is_no_token_is_not_sent(token: str) -> None:
    assert sendable(token) is None

"""Queue messages as text: what this project writes, what hand-written clients send, and garbage."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.distributed.message import MAX_BODY_BYTES, Message, MessageError, poison_body
from flowcraft.distributed.run_ids import run_id_problem

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MESSAGES = st.builds(
    Message,
    run_id=TEXTS.filter(lambda text: not run_id_problem(text)),
    blueprint_id=TEXTS,
    node_key=TEXTS,
    session=TEXTS,
    alarm=st.booleans(),
    check=st.booleans(),
    base=st.integers(0, 10**6),
    not_before=TEXTS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=6,
)


@given(MESSAGES)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert Message.parse(message.to_body()) == message


@given(MESSAGES)
def test_a_message_is_read_from_base64_too(message: Message) -> None:
    assert Message.parse(base64.b64encode(message.to_body().encode()).decode()) == message


@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_garbage_is_a_message_error_and_nothing_else(body: str) -> None:
    try:
        message = Message.parse(body)
    except MessageError:
        return
    assert message.run_id


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_json_that_is_no_message_is_a_message_error(value: object) -> None:
    if isinstance(value, dict) and "runId" in value:
        return
    with pytest.raises(MessageError):
        Message.parse(json.dumps(value))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "no json",
        "[]",
        '"text"',
        "{}",
        '{"runId": ""}',
        '{"runId": null}',
        '{"runId": 7}',
        '{"runId": "r", "nodeId": 7}',
        '{"runId": "r", "nodeId": ["a"]}',
        '{"runId": "r", "base": "1"}',
        '{"runId": "r", "base": 1.5}',
        '{"runId": "r", "base": true}',
        '{"runId": "r", "session": {}}',
        json.dumps({"runId": "r" * 1025}),
        "[" * 100_000,
        "AAAA",
    ],
)
def test_what_cannot_be_read_says_why(body: str) -> None:
    with pytest.raises(MessageError, match=r"message|JSON"):
        Message.parse(body)


def test_the_message_of_a_hand_written_client_is_read() -> None:
    body = '{"runId": "r", "blueprintId": "order", "nodeId": "charge", "unknown": [1], "alarm": "yes"}'
    assert Message.parse(body) == Message("r", "order", "charge")


def test_a_message_without_node_starts_its_run() -> None:
    assert Message.parse('{"runId": "r"}').is_start
    assert Message.parse('{"runId": "r", "nodeId": null}').is_start
    assert not Message.parse('{"runId": "r", "nodeId": "a"}').is_start


def test_what_is_at_its_default_is_not_written() -> None:
    assert json.loads(Message("r").to_body()) == {"runId": "r"}


def test_a_message_that_moves_on_keeps_its_run_and_its_counting_base() -> None:
    message = Message("r", "order", "a", session="1", alarm=True, check=True, base=3, not_before="t")
    assert message.at("b", "2") == replace(message, node_key="b", session="2", alarm=False, check=False)


def test_the_poison_queue_keeps_body_reason_and_count_within_the_limit() -> None:
    assert json.loads(poison_body("body", "why", 6)) == {"reason": "why", "deliveries": 6, "body": "body"}
    assert len(poison_body("x" * 64 * 1024, "why", 6)) <= MAX_BODY_BYTES

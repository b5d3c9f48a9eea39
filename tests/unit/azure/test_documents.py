"""Items of Cosmos DB: ids, layout, packs, sizes."""

from __future__ import annotations

import pytest

from flowcraft.ports import Commit, ContextWrite
from flowcraft.ports.errors import PayloadTooLargeError
from flowcraft.records import NodeRecord
from flowcraft_azure import documents
from flowcraft_azure.documents import escaped, item_id, merged_context, operations


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("charge", "n:charge"),
        ("charge#2.1", "n:charge%232.1"),
        ("a/b\\c?d%e", "n:a%2Fb%5Cc%3Fd%25e"),
        ("tab\there", "n:tab%09here"),
        ("ends in a space ", "n:ends in a space%20"),
        ("Grüße 你好", "n:Grüße 你好"),
    ],
)
def test_an_id_has_nothing_that_the_service_forbids(name: str, expected: str) -> None:
    assert item_id("n", name) == expected


def test_escaping_keeps_different_names_apart() -> None:
    names = ["a#b", "a%23b", "a%2523b", "a/b", "a%2Fb"]
    assert len({escaped(name) for name in names}) == len(names)


def test_a_long_id_is_cut_and_stays_unique() -> None:
    first, second = item_id("n", "k" * 400), item_id("n", "k" * 399 + "l")
    assert len(first) == len(second) == documents.ID_LENGTH
    assert first != second
    assert len(item_id("n", "你" * 400).encode()) <= 1023


def record(key: str, output: object = None) -> NodeRecord:
    return NodeRecord(key, key, "completed", output=output)


def test_a_commit_writes_records_before_context_in_one_partition() -> None:
    commit = Commit(create=[record("a"), record("b")], context=[ContextWrite("k", 1)], seq=3)
    written = operations("run", commit)
    assert [(step.verb, step.item["id"]) for step in written] == [
        ("create", "n:a"),
        ("create", "n:b"),
        ("upsert", "k:k"),
    ]
    assert {step.item["runId"] for step in written} == {"run"}
    assert written[2].item == {
        "id": "k:k",
        "runId": "run",
        "type": "k",
        "key": "k",
        "value": 1,
        "seq": 3,
        "by": "a",
    }


@pytest.mark.parametrize(("writes", "items"), [(90, 90), (91, 1), (5000, 1)])
def test_many_context_writes_share_one_item(writes: int, items: int) -> None:
    commit = Commit(create=[record("a")], context=[ContextWrite(f"k{i}", i) for i in range(writes)], seq=2)
    assert len(operations("run", commit)) == 1 + items


def test_context_is_packed_when_records_fill_the_transaction() -> None:
    commit = Commit(
        create=[record(f"n{i}") for i in range(60)], context=[ContextWrite(f"k{i}", i) for i in range(60)]
    )
    assert len(operations("run", commit)) == 61


def test_more_records_than_one_transaction_takes_are_refused() -> None:
    with pytest.raises(PayloadTooLargeError, match="101 writes"):
        operations("run", Commit(create=[record(f"n{i}") for i in range(101)]))


def test_an_item_and_a_transaction_over_two_megabytes_are_refused() -> None:
    with pytest.raises(PayloadTooLargeError, match="item n:a"):
        operations("run", Commit(create=[record("a", "x" * 2_100_000)]))
    with pytest.raises(PayloadTooLargeError, match="a commit of"):
        operations("run", Commit(create=[record("a", "x" * 1_100_000), record("b", "x" * 1_100_000)]))


def pack(seq: int, **entries: object) -> dict[str, object]:
    return {
        "type": "p",
        "seq": seq,
        "entries": {
            key: {"deleted": True} if value is None else {"value": value} for key, value in entries.items()
        },
    }


def key_item(seq: int, key: str, value: object = None) -> dict[str, object]:
    return {"type": "k", "key": key, "seq": seq, **({"deleted": True} if value is None else {"value": value})}


def test_of_keys_and_packs_the_highest_seq_is_read() -> None:
    items = [pack(2, a="pack", b="pack", c="pack"), key_item(3, "a", "item"), key_item(1, "b", "item")]
    values, deleted = merged_context(items, ["a", "b", "c", "d"])
    assert values == {"a": "item", "b": "pack", "c": "pack"}
    assert deleted == frozenset()


def test_tombstones_hide_what_is_older_and_only_that() -> None:
    items = [pack(2, a=None, b=None), key_item(1, "a", 1), key_item(3, "b", 3), key_item(4, "c")]
    assert merged_context(items, ["a", "b", "c", "d"]) == ({"b": 3}, frozenset({"a", "c"}))


@pytest.mark.parametrize(
    "values",
    [{}, {"amount": 42}, {"id": "x", "runId": "y"}, {"_private": 1}, {"type": "n", "key": "a"}, [1], "text"],
)
def test_a_large_input_comes_back_as_it_was_given(values: object) -> None:
    item = documents.input_item("run", values)
    assert (item["id"], item["runId"]) == ("run", "run")
    assert documents.input_of({**item, "_rid": "r", "_ts": 1, "_etag": "e"}) == values


def test_the_context_item_of_a_hand_written_client_is_an_input() -> None:
    assert documents.input_of({"id": "run", "x": 1, "_ts": 5}) == {"x": 1}


def test_the_next_seq_is_after_every_write_of_the_key() -> None:
    items = [pack(7, a=1), key_item(3, "a", 1), key_item(9, "b", 1)]
    assert documents.newest_seq(items, "a") == 7
    assert documents.newest_seq(items, "z") == 0

"""The promises of the fact store port about one run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.contract.backends import BackendUnderTest

from flowcraft import large_values
from flowcraft.ports import Commit, ContextWrite, FactStore, HeaderQuery, StoredRecord
from flowcraft.ports.errors import (
    ConflictError,
    PayloadTooLargeError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument

ODD_KEYS = [
    "a/b",
    "charge#2.1",
    "resize[17]",
    "what?",
    "50%25",
    "back\\slash",
    "tab\tkey",
    "Grüße 你好",
    "k" * 300,
]


@pytest.fixture
def facts(backend: BackendUnderTest) -> FactStore:
    return backend.facts


def header(run_id: str, **more: Any) -> HeaderDocument:
    document: dict[str, Any] = {
        "id": run_id,
        "runId": run_id,
        "type": "header",
        "v": 1,
        "status": "running",
        "blueprintId": "order",
        "createdAt": "2026-01-31T08:00:00.000Z",
        "lastUpdated": "2026-01-31T08:00:00.000Z",
        **more,
    }
    return document  # type: ignore[return-value]


def completed(key: str, **more: Any) -> NodeRecord:
    return NodeRecord(key=key, node=key, status="completed", **more)


def awaiting(key: str, **more: Any) -> NodeRecord:
    return NodeRecord(key=key, node=key, status="awaiting", kind="wait", **more)


def without_system_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """What was stored: a service may add fields of its own, which begin with an underscore."""
    return {key: value for key, value in document.items() if not key.startswith("_")}


async def context_of(facts: FactStore, run_id: str, *keys: str) -> Mapping[str, Any]:
    return (await facts.load(run_id, context=keys)).context


# ---- headers ----


async def test_a_created_header_is_read_as_it_was_written(facts: FactStore, run_id: str) -> None:
    document = header(run_id, input={"amount": 42}, blueprint={"id": "order", "nodes": []}, queue="orders")
    created = await facts.create_header(document)
    read = await facts.read_header(run_id)
    assert read is not None
    assert without_system_fields(read.document) == document
    assert read.etag == created.etag


async def test_an_unknown_run_has_no_header(facts: FactStore, run_id: str) -> None:
    assert await facts.read_header(run_id) is None


async def test_a_second_header_of_a_run_conflicts_and_changes_nothing(facts: FactStore, run_id: str) -> None:
    await facts.create_header(header(run_id, blueprintId="first"), {"amount": 1})
    with pytest.raises(ConflictError):
        await facts.create_header(header(run_id, blueprintId="second"))
    read = await facts.read_header(run_id)
    assert read is not None
    assert read.document["blueprintId"] == "first"
    assert (await facts.load(run_id, with_input=True)).input == {"amount": 1}


async def test_of_many_creates_of_one_run_exactly_one_wins(facts: FactStore, run_id: str) -> None:
    answers = await asyncio.gather(
        *(facts.create_header(header(run_id, name=str(number))) for number in range(5)),
        return_exceptions=True,
    )
    won = [number for number, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    assert len(won) == 1
    assert all(isinstance(answer, ConflictError) for answer in answers if isinstance(answer, BaseException))
    read = await facts.read_header(run_id)
    assert read is not None
    assert read.document["name"] == str(won[0])


async def test_an_input_item_is_loaded_as_the_input(facts: FactStore, run_id: str) -> None:
    item = {"amount": 42, "lines": [{"sku": "a", "n": 1}], "note": None}
    await facts.create_header(header(run_id), item)
    assert (await facts.load(run_id, with_input=True)).input == item


async def test_an_input_may_have_names_that_services_use_themselves(facts: FactStore, run_id: str) -> None:
    item = {"id": 5, "runId": "mine", "type": "gift", "_etag": "x", "_ts": 1, "ttl": 3, "input": {"input": 1}}
    await facts.create_header(header(run_id), item)
    assert (await facts.load(run_id, with_input=True)).input == item


async def test_a_large_input_is_kept_whole(facts: FactStore, run_id: str) -> None:
    item = {"text": "ü" * 200_000}
    await facts.create_header(header(run_id), item)
    assert (await facts.load(run_id, with_input=True)).input == item


async def test_without_an_input_item_there_is_no_input(facts: FactStore, run_id: str) -> None:
    await facts.create_header(header(run_id, input={"amount": 1}))
    assert (await facts.load(run_id, with_input=True)).input is None


async def test_the_input_is_loaded_only_if_asked_for(facts: FactStore, run_id: str) -> None:
    await facts.create_header(header(run_id), {"amount": 42})
    assert (await facts.load(run_id)).input is None


async def test_a_replaced_header_has_a_new_version_to_replace_it_by(facts: FactStore, run_id: str) -> None:
    created = await facts.create_header(header(run_id))
    pinned = await facts.replace_header(created, header(run_id, blueprintHash="abc"))
    assert pinned.etag != created.etag
    await facts.replace_header(pinned, header(run_id, status="completed"))
    read = await facts.read_header(run_id)
    assert read is not None
    assert without_system_fields(read.document) == header(run_id, status="completed")


async def test_a_read_header_can_be_replaced(facts: FactStore, run_id: str) -> None:
    await facts.create_header(header(run_id))
    read = await facts.read_header(run_id)
    assert read is not None
    replaced = await facts.replace_header(read, header(run_id, status="paused"))
    assert replaced.document["status"] == "paused"


async def test_a_changed_header_is_not_replaced(facts: FactStore, run_id: str) -> None:
    created = await facts.create_header(header(run_id))
    await facts.replace_header(created, header(run_id, status="paused"))
    with pytest.raises(PreconditionFailedError):
        await facts.replace_header(created, header(run_id, status="completed"))
    read = await facts.read_header(run_id)
    assert read is not None
    assert read.document["status"] == "paused"


async def test_of_many_replaces_of_one_version_exactly_one_wins(facts: FactStore, run_id: str) -> None:
    created = await facts.create_header(header(run_id))
    answers = await asyncio.gather(
        *(facts.replace_header(created, header(run_id, name=str(number))) for number in range(5)),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 4
    assert all(isinstance(answer, PreconditionFailedError) for answer in refused)


async def test_a_purged_header_is_not_replaced_even_if_it_is_created_again(
    facts: FactStore, run_id: str
) -> None:
    created = await facts.create_header(header(run_id))
    await facts.purge(run_id)
    with pytest.raises(PreconditionFailedError):
        await facts.replace_header(created, header(run_id, status="completed"))
    await facts.create_header(header(run_id))
    with pytest.raises(PreconditionFailedError):
        await facts.replace_header(created, header(run_id, status="completed"))


# ---- snapshots ----


async def test_a_snapshot_is_read_by_its_reference(facts: FactStore, run_id: str) -> None:
    snapshot = {"id": "order", "nodes": [{"id": "a", "uses": "noop"}], "edges": []}
    reference = await facts.write_snapshot(run_id, "sha256-abc", snapshot)
    assert await facts.write_snapshot(run_id, "sha256-abc", snapshot) == reference
    assert await facts.read_snapshot(run_id, reference) == snapshot


async def test_a_large_snapshot_is_kept_whole(facts: FactStore, run_id: str) -> None:
    snapshot = {"id": "order", "nodes": [{"id": f"node-{number}", "uses": "noop"} for number in range(5000)]}
    reference = await facts.write_snapshot(run_id, "0a1b", snapshot)
    assert await facts.read_snapshot(run_id, reference) == snapshot


async def test_a_snapshot_that_is_not_there_is_a_stale_read(facts: FactStore, run_id: str) -> None:
    with pytest.raises(StaleReadError):
        await facts.read_snapshot(run_id, "b:never-written")


# ---- records ----


async def test_a_committed_record_is_loaded_with_every_field(facts: FactStore, run_id: str) -> None:
    full = NodeRecord(
        key="charge#2",
        node="charge",
        status="completed",
        output={"paid": 42.5, "tags": ["a", None, True], "none": None},
        action="approved",
        taken=(1, 3),
        values={1: {"amount": 1}, 3: None},
        attempt=2,
        started_at="2026-01-31T08:00:00.000Z",
        finished_at="2026-01-31T08:00:01.000Z",
        worker="w1",
        delivery="d1",
        seq=7,
        decision={"action": "approved", "output": {"by": "ada"}},
    )
    failed = NodeRecord(
        key="ship", node="ship", status="failed", error={"type": "E", "message": "m", "line": 3}
    )
    asleep = NodeRecord(
        key="nap", node="nap", status="awaiting", kind="sleep", wake_at="2026-02-01T00:00:00.000Z"
    )
    await facts.commit(run_id, Commit(create=[full, failed, asleep]))
    loaded = await facts.load(run_id, nodes=["charge#2", "ship", "nap"])
    assert {key: stored.record for key, stored in loaded.records.items()} == {
        "charge#2": full,
        "ship": failed,
        "nap": asleep,
    }


@pytest.mark.parametrize("output", [None, 0, False, "", [], {}, 2**53 - 1, 0.1, "\u2028é\u0000", [[["x"]]]])
async def test_an_output_is_loaded_as_it_was_written(facts: FactStore, run_id: str, output: Any) -> None:
    await facts.commit(run_id, Commit(create=[completed("a", output=output)]))
    record = (await facts.load(run_id, nodes=["a"])).records["a"].record
    assert record.output == output
    assert type(record.output) is type(output)


async def test_what_is_absent_is_not_in_the_answer(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[completed("a")]))
    loaded = await facts.load(run_id, nodes=["a", "b"], context=["x"], with_input=True)
    assert set(loaded.records) == {"a"}
    assert loaded.context == {}
    assert loaded.input is None


async def test_only_what_is_asked_for_is_loaded(facts: FactStore, run_id: str) -> None:
    await facts.commit(
        run_id, Commit(create=[completed("a"), completed("b")], context=[ContextWrite("x", 1)])
    )
    loaded = await facts.load(run_id, nodes=["b", "b"])
    assert (set(loaded.records), dict(loaded.context)) == ({"b"}, {})


async def test_runs_do_not_see_each_other(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[completed("a")], context=[ContextWrite("x", 1)]))
    other = await facts.load(f"{run_id}-other", nodes=["a"], context=["x"])
    assert (dict(other.records), dict(other.context)) == ({}, {})


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_any_text_is_a_key(facts: FactStore, run_id: str, key: str) -> None:
    await facts.commit(run_id, Commit(create=[completed(key, output=1)], context=[ContextWrite(key, 2)]))
    loaded = await facts.load(run_id, nodes=[key], context=[key])
    assert loaded.records[key].record.key == key
    assert loaded.context == {key: 2}
    assert set(await facts.resolved(run_id, [key])) == {key}


async def test_keys_that_look_alike_are_told_apart(facts: FactStore, run_id: str) -> None:
    keys = ["a/b", "a%2Fb", "a%2fb", "A/B", "k" * 300 + "1", "k" * 300 + "2", "a", "n:a"]
    await facts.commit(run_id, Commit(create=[completed(key, output=key) for key in keys]))
    loaded = await facts.load(run_id, nodes=keys)
    assert {key: stored.record.output for key, stored in loaded.records.items()} == {key: key for key in keys}


async def test_a_record_is_created_once_and_a_conflict_writes_nothing(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[completed("a", delivery="first")]))
    with pytest.raises(ConflictError):
        await facts.commit(
            run_id,
            Commit(
                create=[completed("b"), completed("a", delivery="second")], context=[ContextWrite("x", 1)]
            ),
        )
    loaded = await facts.load(run_id, nodes=["a", "b"], context=["x"])
    assert {key: stored.record.delivery for key, stored in loaded.records.items()} == {"a": "first"}
    assert loaded.context == {}


async def test_of_many_creates_of_one_record_exactly_one_wins(facts: FactStore, run_id: str) -> None:
    answers = await asyncio.gather(
        *(facts.commit(run_id, Commit(create=[completed("a", delivery=str(n))])) for n in range(5)),
        return_exceptions=True,
    )
    won = [str(n) for n, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(won) == 1
    assert all(isinstance(answer, ConflictError) for answer in refused)
    assert (await facts.load(run_id, nodes=["a"])).records["a"].record.delivery == won[0]


async def test_a_loaded_record_is_replaced_with_its_context(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[awaiting("a")]))
    stored = (await facts.load(run_id, nodes=["a"])).records["a"]
    await facts.commit(
        run_id,
        Commit(
            create=[completed("b")],
            replace=(stored, completed("a", output=1)),
            context=[ContextWrite("x", 1)],
            seq=2,
        ),
    )
    loaded = await facts.load(run_id, nodes=["a", "b"], context=["x"])
    assert loaded.records["a"].record == completed("a", output=1)
    assert set(loaded.records) == {"a", "b"}
    assert loaded.context == {"x": 1}


async def test_a_record_that_changed_is_not_replaced_and_nothing_else_is_written(
    facts: FactStore, run_id: str
) -> None:
    await facts.commit(run_id, Commit(create=[awaiting("a")]))
    stored = (await facts.load(run_id, nodes=["a"])).records["a"]
    decided = awaiting("a", decision={"action": "yes"})
    await facts.commit(run_id, Commit(replace=(stored, decided)))
    with pytest.raises(PreconditionFailedError):
        await facts.commit(
            run_id,
            Commit(
                create=[completed("b")],
                replace=(stored, completed("a")),
                context=[ContextWrite("x", 1)],
                seq=2,
            ),
        )
    loaded = await facts.load(run_id, nodes=["a", "b"], context=["x"])
    assert {key: found.record for key, found in loaded.records.items()} == {"a": decided}
    assert loaded.context == {}
    await facts.commit(run_id, Commit(replace=(loaded.records["a"], completed("a"))))


async def test_a_record_read_in_pages_can_be_replaced(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[awaiting("a")]))
    (stored,) = [found async for page in facts.records(run_id) for found in page]
    await facts.commit(run_id, Commit(replace=(stored, completed("a"))))
    assert (await facts.load(run_id, nodes=["a"])).records["a"].record == completed("a")


async def test_a_record_that_was_never_stored_is_not_replaced(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[awaiting("a")]))
    etag = (await facts.load(run_id, nodes=["a"])).records["a"].etag
    with pytest.raises(PreconditionFailedError):
        await facts.commit(
            run_id, Commit(replace=(StoredRecord(awaiting("other"), etag), completed("other")))
        )


async def test_resolved_leaves_out_what_waits_and_all_outputs(facts: FactStore, run_id: str) -> None:
    records = [
        completed("a", output={"big": "x" * 1000}, taken=(0,), seq=3),
        awaiting("b"),
        NodeRecord(key="c", node="c", status="skipped"),
        NodeRecord(key="d", node="d", status="failed", error={"type": "E", "message": "m"}),
        completed("not asked for"),
    ]
    await facts.commit(run_id, Commit(create=records))
    resolved = await facts.resolved(run_id, ["a", "b", "c", "d", "absent"])
    assert {key: record.status for key, record in resolved.items()} == {
        "a": "completed",
        "c": "skipped",
        "d": "failed",
    }
    assert (resolved["a"].output, resolved["a"].taken, resolved["a"].seq) == (None, (0,), 3)


async def test_resolved_of_many_nodes_is_complete(facts: FactStore, run_id: str) -> None:
    keys = [f"child[{number}]" for number in range(260)]
    for start in range(0, len(keys), 65):
        await facts.commit(run_id, Commit(create=[completed(key) for key in keys[start : start + 65]]))
    assert set(await facts.resolved(run_id, keys)) == set(keys)
    assert set((await facts.load(run_id, nodes=keys)).records) == set(keys)


async def test_every_record_comes_in_pages_without_outputs(facts: FactStore, run_id: str) -> None:
    keys = [f"child[{number}]" for number in range(260)]
    for start in range(0, len(keys), 65):
        await facts.commit(
            run_id,
            Commit(
                create=[completed(key, output="x" * 100) for key in keys[start : start + 65]],
                context=[ContextWrite(f"key {start}", 1)],
            ),
        )
    found = [stored.record async for page in facts.records(run_id) for stored in page]
    assert sorted(record.key for record in found) == sorted(keys)
    assert {record.output for record in found} == {None}


async def test_records_tell_what_they_wait_for_before_and_after(facts: FactStore, run_id: str) -> None:
    child = {"runId": f"{run_id}.sub-1"}
    await facts.commit(
        run_id, Commit(create=[NodeRecord("sub", "sub", "awaiting", kind="run", waits_for=child)])
    )
    stored = (await facts.load(run_id, nodes=["sub"])).records["sub"]
    await facts.commit(run_id, Commit(replace=(stored, completed("sub", waits_for=child))))

    listed = [found.record async for page in facts.records(run_id) for found in page]
    assert [(record.key, record.status, record.waits_for) for record in listed] == [
        ("sub", "completed", child)
    ]
    assert (stored.record.kind, stored.record.waits_for) == ("run", child)


async def test_listings_tell_of_parent_and_children(facts: FactStore, run_id: str) -> None:
    parent = {"runId": "above", "nodeKey": "sub", "queue": "q", "depth": 1}
    await facts.create_header(header(run_id, parent=parent, subflows=True))

    query = HeaderQuery(run_ids=[run_id])
    (found,) = [stored.document async for page in facts.headers(query) for stored in page]
    assert (found["parent"], found["subflows"]) == (parent, True)


async def test_a_run_without_records_has_no_pages_to_show(facts: FactStore, run_id: str) -> None:
    assert [stored async for page in facts.records(run_id) for stored in page] == []


# ---- context ----


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, {"a": [1, {"b": None}]}, 2**53 - 1, 1.5])
async def test_a_context_value_is_loaded_as_it_was_written(facts: FactStore, run_id: str, value: Any) -> None:
    await facts.commit(run_id, Commit(create=[completed("a")], context=[ContextWrite("x", value)], seq=1))
    assert await context_of(facts, run_id, "x", "y") == {"x": value}


async def test_the_later_of_two_writes_counts(facts: FactStore, run_id: str) -> None:
    for seq, value in ((1, "old"), (2, "new")):
        await facts.commit(
            run_id, Commit(create=[completed(f"n{seq}")], context=[ContextWrite("x", value)], seq=seq)
        )
    assert await context_of(facts, run_id, "x") == {"x": "new"}


async def test_context_is_written_without_a_record_and_its_token_has_seen_all_before(
    facts: FactStore, run_id: str
) -> None:
    await facts.commit(run_id, Commit(create=[completed("a")], context=[ContextWrite("_loop.exit.2#1", 1)]))
    session = await facts.commit(run_id, Commit(context=[ContextWrite("_loop.over.a", 3)]))
    loaded = await facts.load(
        run_id, nodes=["a"], context=["_loop.exit.2#1", "_loop.over.a", "_loop.over.b"], session=session
    )
    assert set(loaded.records) == {"a"}
    assert loaded.context == {"_loop.exit.2#1": 1, "_loop.over.a": 3}


async def test_a_deleted_key_is_absent_until_it_is_written_again(facts: FactStore, run_id: str) -> None:
    writes = [ContextWrite("x", 1), ContextWrite("x", deleted=True), ContextWrite("x", 2)]
    seen = []
    for seq, write in enumerate(writes, start=1):
        await facts.commit(run_id, Commit(create=[completed(f"n{seq}")], context=[write], seq=seq))
        loaded = await facts.load(run_id, context=["x", "never"])
        seen.append((dict(loaded.context), set(loaded.deleted)))
    assert seen == [({"x": 1}, set()), ({}, {"x"}), ({"x": 2}, set())]


async def test_hundreds_of_keys_of_one_commit_appear_together(facts: FactStore, run_id: str) -> None:
    values = {f"key {number}": number for number in range(300)}
    writes = [ContextWrite(key, value) for key, value in values.items()]
    await facts.commit(run_id, Commit(create=[completed("a")], context=writes, seq=1))
    assert await context_of(facts, run_id, *values) == values
    assert await context_of(facts, run_id, "key 7", "other") == {"key 7": 7}


async def test_single_writes_and_hundreds_overwrite_each_other_in_order(
    facts: FactStore, run_id: str
) -> None:
    def many(value: str) -> list[ContextWrite]:
        return [ContextWrite(f"key {number}", value) for number in range(120)]

    commits = [
        many("first"),
        [ContextWrite("key 1", "single"), ContextWrite("key 2", deleted=True)],
        [ContextWrite("key 3", "lost"), ContextWrite("key 4", deleted=True)],
        [*many("last")[3:], ContextWrite("key 0", deleted=True)],
    ]
    for seq, writes in enumerate(commits, start=1):
        await facts.commit(run_id, Commit(create=[completed(f"n{seq}")], context=writes, seq=seq))
    assert await context_of(facts, run_id, *(f"key {number}" for number in range(6))) == {
        "key 1": "single",
        "key 3": "last",
        "key 4": "last",
        "key 5": "last",
    }


async def test_an_input_item_is_no_context_key(facts: FactStore, run_id: str) -> None:
    await facts.create_header(header(run_id), {"amount": 42})
    loaded = await facts.load(run_id, context=["amount"], with_input=True)
    assert loaded.context == {}
    assert loaded.input == {"amount": 42}


# ---- sessions, limits, purge ----


async def test_a_read_with_the_token_of_a_commit_sees_it(facts: FactStore, run_id: str) -> None:
    await facts.create_header(header(run_id))
    session = ""
    for number in range(5):
        key = f"n{number}"
        session = await facts.commit(
            run_id, Commit(create=[completed(key)], context=[ContextWrite(key, number)], seq=number), session
        )
        loaded = await facts.load(run_id, nodes=[key], context=[key], session=session)
        assert set(loaded.records) == {key}
        assert loaded.context == {key: number}
        assert set(await facts.resolved(run_id, [key], session)) == {key}
        found = [stored.record.key async for page in facts.records(run_id, session) for stored in page]
        assert len(found) == number + 1
        session = loaded.session


async def test_a_read_with_the_token_of_a_read_sees_what_that_saw(facts: FactStore, run_id: str) -> None:
    session = await facts.commit(run_id, Commit(create=[completed("a")]))
    seen = (await facts.load(run_id, nodes=["a"], session=session)).session
    assert set((await facts.load(run_id, nodes=["a"], session=seen)).records) == {"a"}


async def test_what_is_over_the_limit_is_refused_and_nothing_is_written(
    facts: FactStore, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_values, "LARGEST_BYTES", 3 * 1024 * 1024)
    large = "x" * (3 * 1024 * 1024)
    with pytest.raises(PayloadTooLargeError):
        await facts.commit(
            run_id, Commit(create=[completed("a", output=large)], context=[ContextWrite("x", 1)])
        )
    with pytest.raises(PayloadTooLargeError):
        await facts.commit(run_id, Commit(create=[completed("a")], context=[ContextWrite("x", large)]))
    with pytest.raises(PayloadTooLargeError):
        await facts.create_header(header(run_id, input=large))
    with pytest.raises(PayloadTooLargeError):
        await facts.create_header(header(run_id), {"text": large})
    loaded = await facts.load(run_id, nodes=["a"], context=["x"])
    assert (dict(loaded.records), dict(loaded.context)) == ({}, {})
    assert await facts.read_header(run_id) is None


async def test_a_purge_leaves_nothing_of_the_run_and_all_of_others(facts: FactStore, run_id: str) -> None:
    other = f"{run_id}-other"
    references = {}
    for run in (run_id, other):
        await facts.create_header(header(run), {"amount": 1})
        references[run] = await facts.write_snapshot(run, "abc", {"id": "order"})
        for start in range(0, 240, 60):
            await facts.commit(
                run,
                Commit(
                    create=[completed(f"n{number}") for number in range(start, start + 60)],
                    context=[ContextWrite(f"key {start}", 1)],
                ),
            )
    await facts.purge(run_id)
    await facts.purge(run_id)
    assert await facts.read_header(run_id) is None
    assert [stored async for page in facts.records(run_id) for stored in page] == []
    loaded = await facts.load(run_id, nodes=["n0"], context=["key 0"], with_input=True)
    assert (dict(loaded.records), dict(loaded.context), loaded.input) == ({}, {}, None)
    with pytest.raises(StaleReadError):
        await facts.read_snapshot(run_id, references[run_id])
    kept = await facts.load(other, nodes=["n0"], context=["key 0"], with_input=True)
    assert (set(kept.records), dict(kept.context), kept.input) == ({"n0"}, {"key 0": 1}, {"amount": 1})
    assert await facts.read_snapshot(other, references[other]) == {"id": "order"}
    assert await facts.read_header(other) is not None


async def test_a_purged_run_can_start_again(facts: FactStore, run_id: str) -> None:
    await facts.create_header(header(run_id), {"amount": 1})
    await facts.commit(run_id, Commit(create=[completed("a")]))
    await facts.purge(run_id)
    await facts.create_header(header(run_id), {"amount": 2})
    await facts.commit(run_id, Commit(create=[completed("a", output=2)]))
    loaded = await facts.load(run_id, nodes=["a"], with_input=True)
    assert (loaded.records["a"].record.output, loaded.input) == (2, {"amount": 2})

"""Values of any size through the fact store: of every place where a run keeps one."""

from __future__ import annotations

import pytest
from tests.contract.backends import BackendUnderTest

from flowcraft.large_values import INLINE_BYTES, REFERENCE
from flowcraft.ports import Commit, ContextWrite, FactStore
from flowcraft.ports.errors import ConflictError
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument

LARGE = {"pages": ["x" * 1000] * 3000}
"""3 MB of JSON: more than an item, and a transaction, of Cosmos DB takes."""


@pytest.fixture
def facts(backend: BackendUnderTest) -> FactStore:
    return backend.facts


def completed(key: str, output: object = None, **values: object) -> NodeRecord:
    return NodeRecord(key, key, "completed", output=output, **values)  # type: ignore[arg-type]


async def test_a_large_output_comes_back_whole(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[completed("a", LARGE)]))
    assert (await facts.load(run_id, nodes=["a"])).records["a"].record.output == LARGE


async def test_large_context_values_come_back_whole(facts: FactStore, run_id: str) -> None:
    writes = [ContextWrite("pages", LARGE), ContextWrite("count", 3000), ContextWrite("gone", deleted=True)]
    await facts.commit(run_id, Commit(create=[completed("a")], context=writes))
    loaded = await facts.load(run_id, context=["pages", "count", "gone"])
    assert dict(loaded.context) == {"pages": LARGE, "count": 3000}


async def test_many_values_that_are_too_large_together_come_back_whole(facts: FactStore, run_id: str) -> None:
    value = "y" * (INLINE_BYTES - 100)
    writes = [ContextWrite(f"k{number}", f"{number}{value}") for number in range(30)]
    await facts.commit(run_id, Commit(create=[completed("a")], context=writes))
    loaded = await facts.load(run_id, context=[write.key for write in writes])
    assert dict(loaded.context) == {write.key: write.value for write in writes}


async def test_large_values_of_edges_and_decisions_come_back_whole(facts: FactStore, run_id: str) -> None:
    record = completed("a", values={3: LARGE, 5: 1}, taken=(3, 5), decision={"action": "ok", "output": LARGE})
    await facts.commit(run_id, Commit(create=[record]))
    assert (await facts.load(run_id, nodes=["a"])).records["a"].record == record


async def test_a_large_output_replaces_an_awaiting_record(facts: FactStore, run_id: str) -> None:
    waiting = NodeRecord("a", "a", "awaiting", kind="wait")
    await facts.commit(run_id, Commit(create=[waiting]))
    stored = (await facts.load(run_id, nodes=["a"])).records["a"]
    await facts.commit(run_id, Commit(replace=(stored, completed("a", LARGE))))
    assert (await facts.load(run_id, nodes=["a"])).records["a"].record.output == LARGE


@pytest.mark.parametrize(
    "given",
    [LARGE, LARGE["pages"], "x" * 3_000_000, ["x"] * 20_000, "x" * 60_000, {REFERENCE: "0" * 64}],
    ids=["object", "list", "text", "list of 80 KB", "text of 60 KB", "what looks like a reference"],
)
async def test_a_large_input_comes_back_whole(facts: FactStore, run_id: str, given: object) -> None:
    document: HeaderDocument = {"id": run_id, "runId": run_id, "status": "running", "queue": "orders"}
    await facts.create_header(document, given)
    assert (await facts.load(run_id, with_input=True)).input == given


@pytest.mark.parametrize("more", [-3, -2, -1, 0, 1])
async def test_values_at_the_threshold_come_back_whole(facts: FactStore, run_id: str, more: int) -> None:
    text = "\u00e9" * ((INLINE_BYTES + more) // 2) + "e" * ((INLINE_BYTES + more) % 2)
    many = [ContextWrite(f"k{number}", [text[:-number]]) for number in range(1, 9)]
    await facts.commit(run_id, Commit(create=[completed("a", text)], context=many))
    loaded = await facts.load(run_id, nodes=["a"], context=[write.key for write in many])
    assert loaded.records["a"].record.output == text
    assert dict(loaded.context) == {write.key: write.value for write in many}


async def test_a_large_snapshot_comes_back_whole(facts: FactStore, run_id: str) -> None:
    reference = await facts.write_snapshot(run_id, "0" * 64, LARGE)
    assert await facts.read_snapshot(run_id, reference) == LARGE


async def test_an_output_that_looks_like_a_reference_is_an_output(facts: FactStore, run_id: str) -> None:
    output = {REFERENCE: "0" * 64, "bytes": 1}
    await facts.commit(run_id, Commit(create=[completed("a", output)]))
    assert (await facts.load(run_id, nodes=["a"])).records["a"].record.output == output


async def test_of_two_large_outputs_the_first_commit_counts(facts: FactStore, run_id: str) -> None:
    await facts.commit(run_id, Commit(create=[completed("a", LARGE)]))
    with pytest.raises(ConflictError):
        await facts.commit(run_id, Commit(create=[completed("a", {"other": LARGE})]))
    assert (await facts.load(run_id, nodes=["a"])).records["a"].record.output == LARGE


async def test_large_values_are_purged_with_their_run_and_only_those(facts: FactStore, run_id: str) -> None:
    other = f"{run_id}-other"
    for run in (run_id, other):
        await facts.create_header({"id": run, "runId": run, "status": "completed", "queue": "orders"}, LARGE)
        await facts.commit(run, Commit(create=[completed("a", {**LARGE, "run": run})]))
    await facts.purge(run_id)
    await facts.purge(run_id)
    gone = await facts.load(run_id, nodes=["a"], with_input=True)
    assert (dict(gone.records), gone.input) == ({}, None)
    kept = await facts.load(other, nodes=["a"], with_input=True)
    assert (kept.records["a"].record.output, kept.input) == ({**LARGE, "run": other}, LARGE)

"""Going on with something else: another input, other context keys, for a retry and for a run again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operations.place import Code, Place, flow

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.runs.recall import recall
from flowcraft.distributed.runs.takeover import take_over
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.ports.errors import PayloadTooLargeError

ROW = flow("a>b b>c", c={"inputs": {"amount": "amount", "rate": "rate", "before": "b"}})
SHARED = flow(
    "a>b b>c c>d",
    name="shared",
    a={"params": {"appends": {"log": "a"}}},
    b={"params": {"appends": {"log": "b"}}},
    c={"params": {"appends": {"log": "c"}}},
)


async def failed(place: Place, code: Code, blueprint: Blueprint = ROW, broken: str = "c") -> str:
    """A run in which a node failed; the worker stays."""
    await place.worker(code, blueprint)
    code.broken = {broken}
    run_id = await place.client.start_workflow(blueprint.id, {"amount": 1})
    assert (await place.ended(run_id))["status"] == "failed"
    code.broken = set()
    del code.ran[:]
    return run_id


async def test_a_retry_with_another_input_and_context_keeps_what_was_done(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code)

    await place.client.retry(run_id, input={"amount": 2}, patch={"rate": 0.5})

    again = await place.ended(f"{run_id}-r1")
    assert (again["status"], again["input"]) == ("completed", {"amount": 2})
    assert code.taken == ["c"]
    assert code.inputs["c"] == {"amount": 2, "rate": 0.5, "before": "b!"}
    assert (await place.client.header(run_id))["input"] == {"amount": 1}


async def test_a_run_again_from_the_start_with_another_input(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code)

    stored = await place.client.rerun(run_id, input={"amount": 3})

    assert (await place.ended(stored.document["runId"]))["status"] == "completed"
    assert code.taken == ["a", "b", "c"]
    assert (code.inputs["a"], code.inputs["c"]["amount"]) == ({"amount": 3}, 3)


async def test_an_input_too_large_for_the_header_replaces_one_that_was_not(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code)

    await place.client.retry(run_id, input={"amount": 4, "text": "x" * 40_000})
    await place.ended(f"{run_id}-r1")

    assert code.inputs["c"]["amount"] == 4


async def test_a_patched_key_has_the_new_value_before_anything_runs_and_nothing_runs_for_it(
    place: Place,
) -> None:
    code = Code()
    run_id = await failed(place, code, SHARED, "d")

    stored = await place.client.rerun(run_id, ["c"], patch={"log": ["patched"]}, delete=["never"])
    new_id = stored.document["runId"]
    await place.ended(new_id)

    assert code.taken == ["c", "d"], "b's value is not asked for any more"
    assert (await place.ports.facts.load(new_id, context=["log"])).context == {"log": ["patched", "c"]}


async def test_a_deleted_key_is_gone(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code, SHARED)

    await place.client.retry(run_id, delete=["log"])
    await place.ended(f"{run_id}-r1")

    loaded = await place.ports.facts.load(f"{run_id}-r1", context=["log"])
    assert loaded.context == {"log": ["c"]}


async def test_a_patch_holds_for_the_runs_that_go_on_from_it_until_a_node_writes_the_key(
    place: Place,
) -> None:
    code = Code()
    run_id = await failed(place, code, SHARED)
    code.broken = {"c"}
    await place.client.retry(run_id, patch={"log": ["patched"], "other": 1})
    await place.ended(f"{run_id}-r1")
    code.broken = {"d"}
    await place.client.retry(f"{run_id}-r1")
    await place.ended(f"{run_id}-r2")
    code.broken = set()

    await place.client.retry(f"{run_id}-r2")
    await place.ended(f"{run_id}-r3")

    loaded = await place.ports.facts.load(f"{run_id}-r3", context=["log", "other"])
    assert loaded.context == {"log": ["patched", "c"], "other": 1}
    recalled = await recall(place.client, f"{run_id}-r3")
    assert recalled.context == {"log": ["patched", "c"], "other": 1}


async def test_a_run_that_ended_before_any_worker_took_it_begins_with_the_patch(place: Place) -> None:
    code = Code()
    run_id = await place.client.start_workflow("flow", {"amount": 1})
    await place.client.cancel(run_id)

    await place.client.retry(run_id, patch={"rate": 2})
    await place.worker(code, ROW)

    assert (await place.ended(f"{run_id}-r1"))["status"] == "completed"
    assert code.inputs["c"]["rate"] == 2


async def test_a_patch_that_is_written_late_changes_nothing(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code, SHARED)
    stored = await place.client.retry(run_id, patch={"log": []})
    await place.ended(f"{run_id}-r1")

    await take_over(place.client, stored)

    loaded = await place.ports.facts.load(f"{run_id}-r1", context=["log"])
    assert loaded.context == {"log": ["c"]}


async def test_the_same_asked_for_twice_is_one_run_and_something_else_is_refused(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code)
    client = place.client
    stored = await client.retry(run_id, input={"amount": 2})

    assert (await client.retry(run_id, input={"amount": 2})).document["runId"] == stored.document["runId"]
    others: list[dict[str, Any]] = [{}, {"input": {"amount": 3}}, {"patch": {"rate": 1}}]
    for other in others:
        with pytest.raises(RefusedError, match=f"run {run_id}-r1 was made before, with another input"):
            await client.retry(run_id, **other)


async def test_what_cannot_be_a_context_key_is_refused_before_anything_happens(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code)
    for patch, deleted, told in (
        ({"_outputs.a": 1}, (), "reserved"),
        ({"": 1}, (), "not empty"),
        ({"rate": 1}, ("rate",), "choose one"),
    ):
        with pytest.raises(RefusedError, match=told):
            await place.client.retry(run_id, patch=patch, delete=deleted)
    with pytest.raises(PayloadTooLargeError, match="pass large data as input"):
        await place.client.retry(run_id, patch={"rate": "x" * 40_000})
    with pytest.raises(PayloadTooLargeError, match="the value is not JSON"):
        await place.client.retry(run_id, patch={"rate": float("nan")})

"""Retry of a failed run, and running again from a node: new runs that keep what is right of the old one."""

from __future__ import annotations

import pytest
from tests.operations.place import Code, Place, flow

from flowcraft.distributed.verbs import RefusedError

ROW = flow("a>b b>c c>d")


async def failed(place: Place, code: Code, *broken: str) -> str:
    """A run in which these nodes failed."""
    await place.worker(code, ROW)
    code.broken = set(broken)
    run_id = await place.client.start_workflow("flow", {"amount": 42})
    assert (await place.ended(run_id))["status"] == "failed"
    code.broken = set()
    del code.ran[:]
    return run_id


async def test_a_retry_executes_only_what_is_missing(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code, "c")

    stored = await place.client.retry(run_id)

    again = await place.ended(stored.document["runId"])
    assert (again["status"], again["output"]) == ("completed", {"d": "d!"})
    assert code.taken == ["c", "d"]
    assert code.inputs["c"] == "b!"
    assert code.keys["c"] == f"{run_id}:c"
    assert again["progress"] == {"done": 4, "total": 4}
    assert (await place.client.header(run_id))["status"] == "failed"


async def test_a_retry_asked_for_twice_is_one_run(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code, "c")

    first, second = await place.client.retry(run_id), await place.client.retry(run_id)

    assert first.document["runId"] == second.document["runId"] == f"{run_id}-r1"
    await place.ended(f"{run_id}-r1")
    assert sorted(code.taken) == ["c", "d"]


async def test_a_retry_that_fails_can_be_retried_and_the_first_run_keeps_its_keys(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code, "c")
    code.broken = {"d"}
    await place.client.retry(run_id)
    await place.ended(f"{run_id}-r1")
    code.broken = set()
    del code.ran[:]

    await place.client.retry(f"{run_id}-r1")

    assert (await place.ended(f"{run_id}-r2"))["status"] == "completed"
    assert code.taken == ["d"]
    assert code.keys["d"] == f"{run_id}:d"


async def test_a_run_that_ended_before_any_worker_took_it_is_retried_from_its_start(place: Place) -> None:
    code = Code()
    run_id = await place.client.start_workflow("flow", {"amount": 42})
    await place.client.cancel(run_id)

    await place.client.retry(run_id)
    await place.worker(code, ROW)

    assert (await place.ended(f"{run_id}-r1"))["status"] == "completed"
    assert code.taken == ["a", "b", "c", "d"]
    assert code.inputs["a"] == {"amount": 42}


async def test_a_run_again_from_a_node_executes_it_and_all_behind_it(place: Place) -> None:
    code = Code()
    await place.worker(code, ROW)
    run_id = await place.client.start_workflow("flow", {})
    await place.ended(run_id)
    del code.ran[:]

    stored = await place.client.rerun(run_id, ["b"], new_run_id=f"{run_id}-again")

    assert (await place.ended(f"{run_id}-again"))["output"] == {"d": "d!"}
    assert stored.document["adoptedKeys"] == ["a"]
    assert code.taken == ["b", "c", "d"]
    assert code.keys["b"] == f"{run_id}:b"


async def test_a_run_again_can_have_idempotency_keys_of_its_own(place: Place) -> None:
    code = Code()
    await place.worker(code, ROW)
    run_id = await place.client.start_workflow("flow", {})
    await place.ended(run_id)

    stored = await place.client.rerun(run_id, ["d"], new_keys=True)

    await place.ended(stored.document["runId"])
    assert code.keys["d"] == f"{stored.document['runId']}:d"


async def test_what_a_node_that_runs_again_wrote_is_not_seen_by_it(place: Place) -> None:
    code = Code()
    blueprint = flow(
        "a>b b>c",
        a={"params": {"appends": {"own": "a"}}},
        b={"params": {"appends": {"shared": "b"}}},
        c={"params": {"appends": {"shared": "c"}}},
    )
    await place.worker(code, blueprint)
    run_id = await place.client.start_workflow("flow", {})
    await place.ended(run_id)
    del code.ran[:]

    stored = await place.client.rerun(run_id, ["c"])

    new_id = stored.document["runId"]
    await place.ended(new_id)
    loaded = await place.ports.facts.load(new_id, context=["own", "shared"])
    assert loaded.context == {"own": ["a"], "shared": ["b", "c"]}
    assert code.taken == ["b", "c"], "c replaced what b had written, so b writes it again"


async def test_what_has_no_results_to_go_on_from_is_refused(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code, "c")
    await place.client.retry(run_id)
    await place.ended(f"{run_id}-r1")

    with pytest.raises(RefusedError, match="completed: run it again from a node"):
        await place.client.retry(f"{run_id}-r1")
    with pytest.raises(RefusedError, match="node d did not run"):
        await place.client.rerun(run_id, ["d"])
    code.held["a"] = code.told["never"]
    active = await place.client.start_workflow("flow", {})
    await code.reached["a"].wait()
    with pytest.raises(RefusedError, match="still running"):
        await place.client.rerun(active, ["a"])
    await place.client.cancel(active)

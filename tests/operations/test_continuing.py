"""Retry of a failed run, and running again from a node: new runs that keep what is right of the old one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.operations.place import Code, Place, flow

from flowcraft.distributed.runs.continuation import is_copying
from flowcraft.distributed.runs.takeover import take_over
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.engine.subflows import child_of
from flowcraft.ports import FactStore

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
    with pytest.raises(RefusedError, match=r"blueprint flow has no node 'nope'$"):
        await place.client.rerun(run_id, ["nope"])
    code.held["a"] = code.told["never"]
    active = await place.client.start_workflow("flow", {})
    await code.reached["a"].wait()
    with pytest.raises(RefusedError, match="still running"):
        await place.client.rerun(active, ["a"])
    await place.client.cancel(active)


async def test_children_of_a_batch_that_are_done_are_not_done_again(place: Place) -> None:
    code = Code()
    batch = flow(
        "list>scatter scatter>gather",
        list={"params": {"output": ["x", "y", "z"]}},
        scatter={
            "uses": "batch-scatter",
            "inputs": "list",
            "params": {"workerUsesKey": "step", "gatherNodeId": "gather", "concurrency": 2},
        },
        gather={"uses": "batch-gather", "params": {"outputKey": "results"}},
    )
    await place.worker(code, batch)
    code.broken = {"scatter[1]"}
    run_id = await place.client.start_workflow("flow", {})
    assert (await place.ended(run_id))["status"] == "failed"
    missing = {"scatter[0]", "scatter[1]", "scatter[2]"} - {
        key for key, record in (await place.client.records(run_id)).items() if record.status == "completed"
    }
    code.broken = set()
    del code.ran[:]

    await place.client.retry(run_id)

    end = await place.ended(f"{run_id}-r1")
    assert (end["status"], sorted(code.taken)) == ("completed", sorted(missing))
    assert end["output"] == {"gather": ["scatter[0]!", "scatter[1]!", "scatter[2]!"]}


SUB = {"uses": "subflow", "params": {"blueprintId": "inner"}}
FAMILY = (flow("a>sub sub>z", name="outer", sub=SUB), flow("c1>c2", name="inner"))


async def test_a_retry_goes_on_within_a_subflow(place: Place) -> None:
    code = Code()
    await place.worker(code, *FAMILY)
    code.broken = {"c2"}
    run_id = await place.client.start_workflow("outer", {})
    await place.ended(run_id)
    child_id = child_of((await place.client.records(run_id))["sub"])
    code.broken = set()
    del code.ran[:]

    with pytest.raises(RefusedError, match=f"subflow of run {run_id}"):
        await place.client.retry(child_id)
    await place.client.retry(run_id)

    assert (await place.ended(f"{run_id}-r1"))["output"] == {"z": "z!"}
    assert code.taken == ["c2", "z"]
    assert code.keys["c2"] == f"{child_id}:c2"


async def test_a_run_again_from_a_node_keeps_the_idempotency_keys_of_subflows(place: Place) -> None:
    code = Code()
    await place.worker(code, *FAMILY)
    run_id = await place.client.start_workflow("outer", {})
    await place.ended(run_id)
    before = dict(code.keys)
    del code.ran[:]

    stored = await place.client.rerun(run_id, ["a"])

    await place.ended(stored.document["runId"])
    assert code.taken == ["a", "c1", "c2", "z"]
    assert code.keys == before


class Dying:
    """A fact store whose user dies at its n-th write, before it or right after."""

    def __init__(self, facts: FactStore, writes: int, *, after: bool) -> None:
        self._facts = facts
        self._left = writes
        self._after = after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._facts, name)
        if name not in ("commit", "replace_header", "create_header", "write_snapshot"):
            return call

        async def write(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                if self._after:
                    await call(*args, **kwargs)
                raise asyncio.CancelledError
            return await call(*args, **kwargs)

        return write


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
async def test_a_retry_that_dies_anywhere_is_gone_on_with(place: Place, after: bool) -> None:
    code = Code()
    blueprint = flow(
        "a>b b>c c>d", a={"params": {"appends": {"log": "a"}}}, d={"params": {"appends": {"log": "d"}}}
    )
    worker = await place.worker(code, blueprint)
    code.broken = {"c"}
    run_id = await place.client.start_workflow("flow", {})
    await place.ended(run_id)
    await worker.stop()
    code.broken = set()
    del code.ran[:]
    await place.client.retry(run_id)
    new_id = f"{run_id}-r1"

    for writes in range(10):
        facts = cast("FactStore", Dying(place.ports.facts, writes, after=after))
        stored = await facts.read_header(new_id)
        assert stored is not None
        if not is_copying(stored.document):
            break
        try:
            await take_over(replace(place.client, facts=facts), stored)
        except asyncio.CancelledError:
            continue
    else:
        raise AssertionError("it never comes to its end")
    await place.worker(code, blueprint)

    assert (await place.ended(new_id))["status"] == "completed"
    assert code.taken == ["c", "d"]
    assert (await place.ports.facts.load(new_id, context=["log"])).context == {"log": ["a", "d"]}


async def test_a_copy_that_comes_late_changes_nothing(place: Place) -> None:
    """A worker that slept over its copying wakes up when the run has gone on."""
    code = Code()
    blueprint = flow(
        "a>b b>c", a={"params": {"appends": {"log": "a"}}}, c={"params": {"appends": {"log": "c"}}}
    )
    await place.worker(code, blueprint)
    code.broken = {"c"}
    run_id = await place.client.start_workflow("flow", {})
    await place.ended(run_id)
    code.broken = set()
    stored = await place.client.retry(run_id)
    new_id = stored.document["runId"]
    await place.ended(new_id)
    before = await place.client.records(new_id)

    await take_over(place.client, stored)

    assert await place.client.records(new_id) == before
    assert (await place.ports.facts.load(new_id, context=["log"])).context == {"log": ["a", "c"]}


async def test_a_lost_start_is_made_up_for_by_reconciliation(place: Place) -> None:
    code = Code()
    run_id = await failed(place, code, "c")

    async def lost(*_: Any, **__: Any) -> None:
        raise asyncio.CancelledError

    dying = replace(place.client, queue=cast("Any", _Without(place.ports.queue, send=lost)))
    with pytest.raises(asyncio.CancelledError):
        await dying.retry(run_id)
    await place.until(lambda: _reconciled(place))

    assert (await place.ended(f"{run_id}-r1"))["status"] == "completed"
    assert code.taken == ["c", "d"]


async def _reconciled(place: Place) -> bool:
    return (await place.reconciler.run()).reconciled_runs > 0


class _Without:
    """A port of which some methods are replaced."""

    def __init__(self, port: Any, **methods: Callable[..., Any]) -> None:
        self._port = port
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

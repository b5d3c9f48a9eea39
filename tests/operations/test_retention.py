"""Retention: what has ended and is over its time is deleted whole; a crash on the way breaks nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from tests.operations.asked import World
from tests.operations.place import Code, Place, flow

from flowcraft.distributed.client import RunNotFoundError
from flowcraft.distributed.message import Message
from flowcraft.distributed.runs.retention import purge
from flowcraft.distributed.runs.verbs import RefusedError

BLUEPRINT = flow("a>b", a={"params": {"appends": {"seen": "a"}}})
LARGE = {"text": "x" * 40_000}
"""An input that is an item of its own."""


async def finished(place: Place, ttl_s: float | None, input: Any = LARGE) -> str:  # noqa: A002
    run_id = await place.client.start_workflow("flow", input, ttl_after_finished_s=ttl_s)
    assert (await place.ended(run_id))["status"] == "completed"
    await place.idle()
    return run_id


async def left(place: Place, run_id: str) -> list[str]:
    """What there is of a run."""
    facts = place.ports.facts
    loaded = await facts.load(run_id, nodes=["a", "b"], context=["seen"], with_input=True)
    found = {
        "header": await facts.read_header(run_id),
        "records": [stored async for page in facts.records(run_id) for stored in page],
        "context": loaded.context,
        "input": loaded.input,
        "counts": await place.ports.coordination.progress([run_id]),
    }
    return [name for name, value in found.items() if value]


async def test_only_what_has_ended_and_is_over_its_time_is_deleted(place: Place) -> None:
    code = Code()
    await place.worker(code, BLUEPRINT)
    over = await finished(place, 0.0)
    kept = [await finished(place, 3600.0), await finished(place, None)]
    code.held["b"] = asyncio.Event()
    code.reached["b"].clear()
    kept.append(await place.client.start_workflow("flow", LARGE, ttl_after_finished_s=0.0))
    await code.reached["b"].wait()
    before = [await left(place, run_id) for run_id in kept]

    stats = await place.reconciler.run()

    assert stats.purged_runs == 1
    assert await left(place, over) == []
    assert [await left(place, run_id) for run_id in kept] == before
    assert (await place.reconciler.run()).purged_runs == 0


async def test_a_deletion_that_was_cut_off_is_done_to_its_end(place: Place) -> None:
    await place.worker(Code(), BLUEPRINT)
    for pause_s in (0.0, 0.001, 0.003, 0.008, 0.02):
        run_id = await finished(place, 0.0)
        cut_off = asyncio.create_task(purge(place.client, run_id))
        await asyncio.sleep(pause_s)
        cut_off.cancel()
        with suppress(asyncio.CancelledError):
            await cut_off
        there = await left(place, run_id)
        assert there == [] or "header" in there, "what is left is found by its header"

        await place.reconciler.run()

        assert await left(place, run_id) == []


async def test_a_run_is_deleted_when_somebody_asks_a_minute_after_its_end(place: Place) -> None:
    code = Code()
    await place.worker(code, BLUEPRINT)
    run_id = await finished(place, None)

    assert await place.client.delete(run_id) is False, "what runs still would write to what is gone"
    stored = await place.ports.facts.read_header(run_id)
    assert stored is not None
    await place.ports.facts.replace_header(
        stored, {**stored.document, "finishedAt": "2026-01-31T08:00:00.000Z"}
    )
    assert await place.client.delete(run_id) is True

    assert await left(place, run_id) == []
    assert await place.client.delete(run_id) is True, "doing it again changes nothing"
    with pytest.raises(RunNotFoundError):
        await place.client.header(run_id)


async def test_a_run_that_is_being_deleted_is_nothing_to_go_on_from(place: Place) -> None:
    await place.worker(Code(), BLUEPRINT)
    run_id = await finished(place, 0.0)

    with pytest.raises(RefusedError, match="retention is over"):
        await place.client.rerun(run_id, ["b"])


async def test_a_run_whose_source_was_deleted_before_it_could_copy_fails_and_says_so(place: Place) -> None:
    worker = await place.worker(Code(), BLUEPRINT)
    run_id = await finished(place, 3600.0)
    await worker.stop()
    await place.client.rerun(run_id, ["b"], new_run_id=f"{run_id}-again")
    await purge(place.client, run_id)

    await place.worker(Code(), BLUEPRINT)

    end = await place.ended(f"{run_id}-again")
    assert (end["status"], end.get("reason")) == ("failed", "SourceDeleted")


@pytest.mark.parametrize(("hours", "poison"), [(0.0, 1), (2.0, 0)])
async def test_a_message_that_outlived_its_run_is_dropped_and_a_young_one_is_told(
    hours: float, poison: int
) -> None:
    async with World() as world:
        await world.client.queue.send(Message("gone", "ask", "use", alarm=True).to_body())
        world.clock.ahead += timedelta(hours=hours)
        for _ in range(5):
            await world.work()
            world.clock.ahead += timedelta(seconds=10)

        assert (await world.client.queue.depth()).total == 0
        assert (await world.poison.depth()).total == poison

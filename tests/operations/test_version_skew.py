"""A rolling update: workers of two versions of an app share a queue, and no run is lost or failed by it."""

from __future__ import annotations

import asyncio
from typing import cast

from tests.operations.place import Code, Place, flow

from flowcraft.distributed.jobs.worker import Worker
from flowcraft_api.wire import HeaderDocument

OLD = flow("a>b", version="1")
NEW = flow("a>b", version="2", b={"uses": "new step"})


async def poison(place: Place) -> int:
    return (await place.poison.queue.depth()).visible


async def test_workers_of_two_versions_share_a_queue(place: Place) -> None:
    old, new = Code(), Code()
    await place.worker(old, OLD)
    await place.worker(new, OLD, NEW, uses=("step", "new step"))
    versions = [None, "1", "2"] * 4

    run_ids = [
        await place.client.start_workflow("flow", {}, version=version, run_id=f"{place.queue_name}-{number}")
        for number, version in enumerate(versions)
    ]
    ends = [await place.ended(run_id) for run_id in run_ids]

    assert [end["status"] for end in ends] == ["completed"] * len(ends)
    pinned = [end.get("blueprintVersion") for end in ends]
    assert [found for found, wanted in zip(pinned, versions, strict=True) if wanted and found != wanted] == []
    assert len(old.ran) + len(new.ran) == 2 * len(ends), "each node ran once, on a worker that knows it"
    assert [end.get("reason") for end in ends] == [None] * len(ends)
    assert await poison(place) == 0


async def test_runs_of_the_old_version_end_on_workers_that_replace_the_old_ones(place: Place) -> None:
    old, new = Code(), Code()
    old.held["b"] = asyncio.Event()
    leaving = await place.worker(old, OLD)
    run_id = await place.client.start_workflow("flow", {})
    await asyncio.wait_for(old.reached["b"].wait(), 30)

    await place.worker(new, OLD, NEW, uses=("step", "new step"))
    await leaving.stop()

    end = await place.ended(run_id)
    assert (end["status"], end.get("blueprintVersion")) == ("completed", "1")
    assert (old.ran, new.ran) == (["a", "b"], ["b"])
    assert await poison(place) == 0


async def test_an_old_worker_alone_says_that_it_cannot_and_fails_nothing(place: Place) -> None:
    old, new = Code(), Code()
    worker = await place.worker(old, OLD, max_deliveries=1)
    run_id = await place.client.start_workflow("flow", {}, version="2")

    await place.until(lambda: has_handled(worker, 2))
    waiting = await place.client.header(run_id)
    await place.worker(new, NEW, uses=("step", "new step"))
    end = await place.ended(run_id)

    assert (waiting["status"], waiting.get("reason")) == ("running", "BlueprintUnknown")
    assert "no worker of queue" in (waiting.get("message") or "")
    assert (end["status"], end.get("reason"), end.get("message")) == ("completed", None, None)
    assert (old.ran, new.ran) == ([], ["a", "b"])
    assert await poison(place) == 0


async def test_an_old_worker_does_not_disturb_a_run_that_new_ones_work_on(place: Place) -> None:
    old, new = Code(), Code()
    new.held["a"] = asyncio.Event()
    await place.worker(new, NEW, uses=("step", "new step"), concurrency=1, status_max_age_s=0.1)
    run_id = await place.client.start_workflow("flow", {}, version="2")
    await asyncio.wait_for(new.reached["a"].wait(), 30)
    late = await place.worker(old, OLD)

    await place.ports.queue.send(f'{{"runId": "{run_id}", "nodeId": "b"}}')
    await place.until(lambda: has_handled(late, 1))

    assert "reason" not in await place.client.header(run_id)
    new.held["a"].set()
    assert (await place.ended(run_id))["status"] == "completed"
    assert old.ran == []


async def test_a_run_of_a_newer_release_is_left_to_its_workers(place: Place) -> None:
    old = Code()
    worker = await place.worker(old, OLD)
    run_id = await place.client.start_workflow("flow", {}, suspended=True)
    stored = await place.ports.facts.read_header(run_id)
    assert stored is not None
    newer = cast(
        "HeaderDocument",
        {**stored.document, "v": 2, "status": "running", "lastUpdated": "2026-01-31T08:00:00Z"},
    )
    await place.ports.facts.replace_header(stored, newer)

    await place.ports.queue.send(f'{{"runId": "{run_id}", "blueprintId": "flow"}}')
    await place.until(lambda: has_handled(worker, 1))
    await place.reconciler.run()

    seen = await place.client.header(run_id)
    assert {**seen, "lastUpdated": ""} == {**newer, "lastUpdated": ""}, "nothing of it was changed"
    assert (old.ran, await poison(place)) == ([], 0)


async def has_handled(worker: Worker, count: int) -> bool:
    return worker.handled >= count

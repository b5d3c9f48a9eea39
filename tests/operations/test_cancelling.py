"""Cancel reaches what runs: at once by a hint, and by the next look at the header where hints are lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from tests.operations.place import Code, Place, flow

SOON_S = 2.0
"""What a person who cancels a run is promised."""


async def held(place: Place, code: Code, **settings: Any) -> str:
    """A run whose first node runs, and goes on running."""
    code.held["a"] = asyncio.Event()
    await place.worker(code, flow("a>b"), **settings)
    run_id = await place.client.start_workflow("flow", {})
    await asyncio.wait_for(code.reached["a"].wait(), 30)
    return run_id


async def test_cancel_reaches_a_running_node_in_under_two_seconds(place: Place) -> None:
    code = Code()
    run_id = await held(place, code)

    await place.client.cancel(run_id)
    await asyncio.wait_for(code.told["a"].wait(), SOON_S)

    assert (await place.client.header(run_id))["status"] == "cancelled"
    await place.until(lambda: is_empty(place))
    assert code.ran == ["a"], "nothing else began"
    assert await place.client.records(run_id) == {}, "its result is not wanted any more"


async def test_progress_is_exact_when_a_run_was_cancelled(place: Place) -> None:
    code = Code()
    code.held["b"] = asyncio.Event()
    await place.worker(code, flow("a>b b>c"))
    run_id = await place.client.start_workflow("flow", {})
    await code.reached["b"].wait()

    await place.client.cancel(run_id)

    assert (await place.client.header(run_id))["progress"] == {"done": 1, "total": 3}


async def test_cancel_reaches_nodes_on_every_worker(place: Place) -> None:
    codes = [Code(), Code()]
    blueprint = flow("a>c b>c")
    for code in codes:
        code.held = {"a": asyncio.Event(), "b": asyncio.Event()}
        await place.worker(code, blueprint, concurrency=1)
    run_id = await place.client.start_workflow("flow", {})
    first, second = (
        [asyncio.create_task(code.reached[node].wait()) for code in codes] for node in ("a", "b")
    )
    for either in (first, second):
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    for task in (*first, *second):
        task.cancel()

    await place.client.cancel(run_id)

    async with asyncio.timeout(SOON_S):
        for code in codes:
            assert len(code.ran) == 1
            await code.told[code.ran[0]].wait()


async def test_a_lost_hint_costs_until_the_next_look_at_the_header(place: Place) -> None:
    code = Code()
    run_id = await held(place, code, status_max_age_s=0.3)

    deaf = replace(place.client, queue_name="nobody listens")
    await deaf.cancel(run_id)

    await asyncio.wait_for(code.told["a"].wait(), SOON_S)


async def is_empty(place: Place) -> bool:
    return (await place.ports.queue.depth()).total == 0

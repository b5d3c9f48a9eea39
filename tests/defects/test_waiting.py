"""Waits that the original walks through, and decisions that it gives to everybody."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.defects.place import Code, Place, flow, until

from flowcraft import FlowRuntime
from flowcraft.memory.result import Decision

pytestmark = pytest.mark.emulators
WAIT = {"uses": "wait"}


async def test_a_wait_holds_its_successors_until_somebody_decides(place: Place, code: Code) -> None:
    await place.worker(flow("a>w w>b", w=WAIT), code)
    run_id = await place.start()
    header = await place.becomes(run_id, "awaiting")
    assert [entry["nodeKey"] for entry in header["awaiting"]] == ["w"]
    assert code.executed == ["a"]
    await place.client.decide(run_id, "w", output={"by": "ada"})
    await place.becomes(run_id, "completed")
    assert code.inputs["b"] == {"by": "ada"}


async def test_a_sleep_takes_its_time_without_holding_a_worker(place: Place, code: Code) -> None:
    naps = [
        flow("a>s s>b", name, s={"uses": "sleep", "params": {"duration": duration}})
        for name, duration in (("long", "1h"), ("short", "1s"))
    ]
    adapter = await place.worker(naps, code)
    long, short = await place.start("long"), await place.start("short")
    header = await place.becomes(short, "completed")
    nap = (await place.client.records(short))["s"]
    began, ended = (datetime.fromisoformat(text) for text in (nap.started_at, nap.finished_at))
    assert (ended - began).total_seconds() >= 1
    assert header["output"] == {"b": "b!"}
    assert (await place.becomes(long, "awaiting"))["awaiting"][0]["kind"] == "sleep"

    async def free() -> bool:
        return adapter.worker is not None and not adapter.worker.jobs

    await until(free)
    assert sorted(code.executed) == ["a", "a", "b"]


async def test_an_approval_answers_only_the_node_it_names_and_runs_only_its_branch(
    place: Place, code: Code
) -> None:
    await place.worker(flow("v>a:approve v>r:reject w>b:approve w>s:reject", v=WAIT, w=WAIT), code)
    run_id = await place.start()
    await place.becomes(run_id, "awaiting")
    await place.client.decide(run_id, "v", action="approve")
    await code.has_reached("a")
    header = await place.becomes(run_id, "awaiting")
    assert [entry["nodeKey"] for entry in header["awaiting"]] == ["w"]
    assert code.executed == ["a"]
    await place.client.decide(run_id, "w", action="reject")
    await place.becomes(run_id, "completed")
    assert code.executed == ["a", "s"]


async def test_a_decision_is_followed_in_memory_as_on_a_backend(place: Place, code: Code) -> None:
    blueprint = flow("w>a:approve w>r:reject", w=WAIT)
    runtime = FlowRuntime(blueprints=[blueprint], registry={"step": code.step})
    waiting = await runtime.run("flow")
    assert waiting.status == "awaiting"
    decided = await runtime.resume(waiting, {"w": Decision(action="reject")})
    assert decided.output == {"r": "r!"}
    await place.worker(blueprint, stored := Code())
    run_id = await place.start()
    await place.becomes(run_id, "awaiting")
    await place.client.decide(run_id, "w", action="reject")
    assert (await place.becomes(run_id, "completed"))["output"] == decided.output
    assert code.executed == stored.executed == ["r"]

"""Messages that come again or late, and nodes that take long, which the original repeats or reroutes."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest
from tests.defects.place import QUICK, Code, Place, flow, until

from flowcraft import NodeContext
from flowcraft.blueprint import Blueprint

pytestmark = pytest.mark.emulators


async def test_a_message_that_comes_again_follows_the_branch_that_was_chosen(
    place: Place, code: Code
) -> None:
    blueprint = flow("a>b:yes a>c:yes a>d:no a>e", a={"params": {"action": "yes"}})
    first = Code()
    mortal = await place.mortal(blueprint, first)
    first.calls["a"] = place.relays[mortal]["queue"].cut
    run_id = await place.start()

    async def recorded() -> bool:
        return "a" in await place.statuses(run_id)

    await until(recorded)
    await place.kill(mortal)
    await place.worker(blueprint, code)
    await place.becomes(run_id, "completed")
    assert sorted(code.executed) == ["b", "c"]
    assert first.executed == ["a"]


async def test_every_round_of_a_loop_runs(place: Place, code: Code) -> None:
    async def count(ctx: NodeContext) -> int:
        code.executed.append(ctx.node_key)
        n = 1 + int(await ctx.context.get("n", 0))
        await ctx.context.set("n", n)
        return n

    code.registry["count"] = count
    controller = {
        "uses": "loop-controller",
        "params": {"condition": "n < 3"},
        "config": {"joinStrategy": "any"},
    }
    blueprint = flow("a>b b>l l>b:continue l>z:break", b={"uses": "count"}, l=controller)
    await place.worker(blueprint, code)
    await place.worker(blueprint, code)
    await place.becomes(await place.start(), "completed")
    assert code.executed == ["a", "b#1", "b#2", "b#3", "z"]


async def test_two_deliveries_of_one_message_execute_its_node_once(place: Place, code: Code) -> None:
    blueprint = flow("a>b", a={"params": {"gate": "a"}})
    one, two = await place.worker(blueprint, code), await place.worker(blueprint, code)
    run_id = await place.start()
    await code.has_reached("a")
    await place.signal(run_id, "a")
    await place.signal(run_id, "a")

    async def refused() -> bool:
        return sum(each.worker.handled for each in (one, two) if each.worker) >= 2

    await until(refused)
    code.gates["a"].set()
    await place.becomes(run_id, "completed")
    await place.drained()
    assert code.executed == ["a", "b"]


async def test_a_late_message_does_not_reopen_a_finished_run(place: Place, code: Code) -> None:
    await place.worker(flow("a>b"), code)
    run_id = await place.start()
    header = await place.becomes(run_id, "completed")
    await place.forget(run_id)
    for key in ("", "a", "b"):
        await place.signal(run_id, key)
    await place.drained()
    assert await place.client.header(run_id) == header
    assert code.executed == ["a", "b"]


async def test_what_one_run_does_to_a_blueprint_does_not_leak_into_the_next(place: Place, code: Code) -> None:
    source = flow("a>b", b={"config": {"maxRetries": 3}, "params": {"fails": 2}})
    source["edges"][0]["transform"] = "'for b: ' + input"
    worker = await place.worker(source, code)
    before = Blueprint.from_dict(source).content_hash
    for _ in range(2):
        await place.becomes(await place.start(), "completed")
    assert code.executed == ["a", "b", "b", "b"] * 2
    assert code.inputs["b"] == "for b: a!"
    known = worker._services.catalog.blueprints.find("flow")
    assert known is not None
    assert known.content_hash == before


async def test_a_node_that_outlasts_its_messages_timeout_runs_once_beside_others(
    place: Place, code: Code
) -> None:
    blueprint = flow("a>b", a={"params": {"gate": "a"}})
    short = replace(QUICK, visibility_timeout_s=1.5)
    one, two = await place.worker(blueprint, code, short), await place.worker(blueprint, code, short)
    run_id = await place.start()
    await code.has_reached("a")
    received = {each: each.worker.last_receive for each in (one, two) if each.worker}
    loop = asyncio.get_running_loop()
    over = loop.time() + 2.0  # the first timeout has passed by then

    async def passed() -> bool:
        return loop.time() > over and all(
            each.worker.last_receive != at for each, at in received.items() if each.worker
        )

    await until(passed)
    other = await place.start()  # nothing waits in line behind the slow node
    code.gates["a"].set()
    await place.becomes(run_id, "completed")
    await place.becomes(other, "completed")
    await place.drained()
    assert code.executed.count("a") == code.executed.count("b") == 2  # once a run


@pytest.mark.parametrize("body", ["no JSON", "[]", base64.b64encode(b"\xff\xfe").decode(), '{"nodeId": "a"}'])
async def test_a_message_that_cannot_be_read_is_set_aside_with_its_reason(
    place: Place, code: Code, body: str
) -> None:
    await place.worker(flow("a>b"), code)
    await place.idle.queue.send(body)
    await place.becomes(await place.start(), "completed")
    await place.drained()
    messages = [message async for message in place.idle._poison.receive_messages()]
    assert len(messages) == 1
    assert "the message" in messages[0].content


async def test_a_stopping_worker_gives_its_work_to_the_next(place: Place, code: Code) -> None:
    blueprint = flow("a>b", a={"params": {"gate": "never"}})
    leaving = await place.worker(blueprint, first := Code())
    run_id = await place.start()
    await first.has_reached("a")
    await leaving.stop()
    code.gates["never"].set()
    await place.worker(blueprint, code)
    await place.becomes(run_id, "completed")
    assert first.executed == ["a"]
    assert code.executed == ["a", "b"]

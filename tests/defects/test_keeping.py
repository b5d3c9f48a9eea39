"""Keys, values and names that the original loses, mixes up or keeps for ever."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from tests.defects.place import Code, Place, flow

from flowcraft import NodeContext
from flowcraft_azure.connections import redis_client

pytestmark = pytest.mark.emulators


async def test_context_keys_of_any_name_and_number_are_kept(place: Place, code: Code) -> None:
    odd = {"a/b": 1, "a~b": 2, "id": 3, "runId": 4, "_ts": 5, "é#?\\%": 6, "_etag": 7}
    many = {f"key {number}": number for number in range(120)}
    nodes = {"a": {"params": {"writes": odd}}, "b": {"params": {"writes": many}}}
    read: dict[str, object] = {}

    async def look(ctx: NodeContext) -> None:
        await ctx.context.delete("never written")
        await ctx.context.delete("a/b")
        for key in (*odd, *many):
            read[key] = await ctx.context.get(key)

    code.registry["look"] = look
    await place.worker(flow("a>b b>c", c={"uses": "look"}, **nodes), code)
    run_id = await place.start()
    await place.becomes(run_id, "completed")
    del odd["a/b"]
    assert read == {"a/b": None, **odd, **many}
    loaded = await place.idle.facts.load(run_id, context=["a/b", *odd, *many])
    assert loaded.context == {**odd, **many}


async def test_what_a_node_does_can_be_found_by_its_run(place: Place, code: Code) -> None:
    seen: list[tuple[str, str]] = []

    async def told(ctx: NodeContext) -> None:
        seen.append((ctx.run_id, ctx.idempotency_key))
        ctx.logger.info("charged")

    code.registry["told"] = told
    with capture_logs() as lines:
        await place.worker(flow("a", a={"uses": "told"}), code)
        run_id = await place.start()
        await place.becomes(run_id, "completed")
    assert seen == [(run_id, f"{run_id}:a")]
    (line,) = [line for line in lines if line["event"] == "charged"]
    assert (line["run_id"], line["node_key"]) == (run_id, "a")


async def test_everything_in_redis_stands_in_its_runs_slot_and_expires(place: Place, code: Code) -> None:
    await place.worker(flow("a>b a>c b>d c>d", c={"params": {"gate": "c"}}), code)
    run_id = await place.start()
    await code.has_reached("c")
    keys = await place.redis_keys(f"*{run_id}*")
    assert any(":j:" in key for key in keys) or any(":c:" in key for key in keys)
    assert [key for key in keys if not key.startswith(f"fc:{{{run_id}}}:")] == []
    async with redis_client(place.settings) as redis:
        assert [key for key in keys if await redis.pttl(key) == -1] == []
    code.gates["c"].set()
    await place.becomes(run_id, "completed")
    async with redis_client(place.settings) as redis:
        assert [key for key in await place.redis_keys(f"*{run_id}*") if await redis.pttl(key) == -1] == []

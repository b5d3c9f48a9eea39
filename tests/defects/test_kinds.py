"""Kinds of node that the original runs in one process only, or not at all."""

from __future__ import annotations

import pytest
from tests.defects.place import Code, Place, flow

from flowcraft import NodeContext

pytestmark = pytest.mark.emulators


async def test_a_batch_is_shared_by_workers_and_gathered_in_order(place: Place, code: Code) -> None:
    async def items(_ctx: NodeContext) -> list[int]:
        return [0, 1, 2]

    async def double(ctx: NodeContext) -> int:
        await code.step(ctx)
        if ctx.input == 0:  # none of the others waits for the first
            await code.has_reached("s[1]")
            await code.has_reached("s[2]")
        return 2 * int(ctx.input)

    code.registry |= {"items": items, "double": double}
    scatter = {"workerUsesKey": "double", "gatherNodeId": "g", "outputKey": "all"}
    blueprint = flow(
        "a>s s>g g>z",
        a={"uses": "items"},
        s={"uses": "batch-scatter", "inputs": "a", "params": scatter},
        g={"uses": "batch-gather", "params": {"outputKey": "all"}},
    )
    await place.worker(blueprint, code)
    await place.worker(blueprint, code)
    run_id = await place.start()
    await place.becomes(run_id, "completed")
    assert code.inputs["z"] == [0, 2, 4]
    assert sorted(code.executed) == ["s[0]", "s[1]", "s[2]", "z"]


async def test_a_subflow_is_a_run_of_its_own_whose_steps_survive_its_parents_worker(
    place: Place, code: Code
) -> None:
    inner = flow("x>y", "inner", y={"params": {"gate": "y"}})
    outer = flow("a>s s>b", "outer", s={"uses": "subflow", "params": {"blueprintId": "inner"}})
    leaving = await place.worker([outer, inner], code)
    run_id = await place.start("outer")
    await code.has_reached("y")
    await leaving.stop()
    code.gates["y"].set()
    await place.worker([outer, inner], code)
    await place.becomes(run_id, "completed")
    assert code.executed == ["a", "x", "y", "y", "b"]
    assert code.inputs["b"] == "y!"


async def test_a_webhook_waits_at_an_address_for_whoever_calls_it(place: Place, code: Code) -> None:
    await place.worker(flow("w>b", w={"uses": "webhook"}), code)
    run_id = await place.start()
    header = await place.becomes(run_id, "awaiting")
    (entry,) = header["awaiting"]
    assert (entry["nodeKey"], entry["kind"]) == ("w", "webhook")
    await place.client.decide(run_id, "w", output={"paid": True})
    await place.becomes(run_id, "completed")
    assert code.inputs["b"] == {"paid": True}

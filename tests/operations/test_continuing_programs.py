"""Random programs with loops: a node fails, the run is retried; an ended run is run again from anywhere.

What is executed then is what was missing and all that follows, the output is that of a run without failures,
and it comes without any reconciliation.
"""

from __future__ import annotations

import random

import pytest
from tests.operations.place import embedded
from tests.unit.engine.loop_programs import Program, program

from flowcraft import NodeContext, NodeResult
from flowcraft.distributed.runs.header import RunRequest


def seeds(count: int) -> list[int]:
    """Programs with loops that are over soon."""
    found: list[int] = []
    seed = 100
    while len(found) < count:
        drawn = program(seed, depth=3, max_nodes=18)
        if drawn.plan.loops and 3 < len(drawn.meaning()) < 40:
            found.append(seed)
        seed += 1
    return found


class Played:
    """The code of a program's nodes; one of them fails."""

    def __init__(self, drawn: Program) -> None:
        self.drawn = drawn
        self.broken = ""
        self.ran: list[str] = []

    async def step(self, ctx: NodeContext) -> NodeResult:
        self.ran.append(ctx.node_key)
        if ctx.node_key == self.broken:
            raise ValueError("broken")
        return NodeResult(ctx.node_key, self.drawn.action(ctx.node_key))


@pytest.mark.parametrize("seed", seeds(12))
async def test_a_program_goes_on_where_it_failed_and_from_where_it_is_told(seed: int) -> None:
    drawn, rng = program(seed, depth=3, max_nodes=18), random.Random(seed)  # noqa: S311
    blueprint, played = drawn.plan.blueprint, Played(drawn)
    async with embedded() as place:
        await place.worker(played, blueprint, uses=("code",))

        played.broken = rng.choice(drawn.meaning())
        await place.client.start(RunRequest("one", blueprint.id, input={}), blueprint)
        assert (await place.ended("one"))["status"] == "failed"
        await place.idle()
        before = await place.client.records("one")
        done = {key for key, record in before.items() if record.status == "completed"}
        played.broken, played.ran = "", []

        await place.client.retry("one")
        retried = await place.ended("one-r1")
        await place.idle()

        adopted = set(retried["adoptedKeys"])
        assert sorted(played.ran) == sorted(set(drawn.meaning()) - adopted)
        assert done <= adopted | set(played.ran)

        again = rng.choice(drawn.meaning())
        played.ran = []
        stored = await place.client.rerun("one-r1", [again], new_run_id="two")
        second = await place.ended("two")
        assert again in played.ran
        assert sorted(played.ran) == sorted(set(drawn.meaning()) - set(stored.document["adoptedKeys"]))
        assert retried["output"] == second["output"]

        await place.client.start(RunRequest("whole", blueprint.id, input={}), blueprint)
        whole = await place.ended("whole")
        assert whole["output"] == retried["output"]
        records, expected = await place.client.records("two"), await place.client.records("whole")
        assert {key: record.status for key, record in records.items()} == {
            key: record.status for key, record in expected.items()
        }

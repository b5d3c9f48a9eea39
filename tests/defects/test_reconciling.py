"""What the original's reconciler starts that nobody asked for, or takes for stalled though it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.defects.place import QUICK, Code, Place, flow, until

pytestmark = pytest.mark.emulators


async def test_reconciling_runs_no_untaken_branch_no_spare_node_and_nothing_that_runs_already(
    place: Place, code: Code
) -> None:
    blueprint = flow(
        "a>b:go a>c:stop b>d",
        a={"params": {"action": "go"}},
        b={"params": {"gate": "b"}, "config": {"fallback": "spare"}},
        spare={},
    )
    await place.worker(blueprint, code)
    run_id = await place.start()
    await code.has_reached("b")
    assert (await place.reconcile()).failed_runs == 0
    assert (await place.idle.queue.depth()).visible == 0
    code.gates["b"].set()
    await place.becomes(run_id, "completed")
    await place.drained()
    assert code.executed == ["a", "b", "d"]


async def test_waiting_runs_and_long_nodes_are_not_taken_for_stalled_and_one_looks_at_a_time(
    place: Place, code: Code
) -> None:
    lively = replace(QUICK, status_max_age_s=0.1, touch_interval_s=0.2)
    blueprints = [flow("w>b", "waits", w={"uses": "wait"}), flow("a", "long", a={"params": {"gate": "a"}})]
    await place.worker(blueprints, code, lively)
    waiting, long = await place.start("waits"), await place.start("long")
    await place.becomes(waiting, "awaiting")
    await code.has_reached("a")
    begun = await place.client.header(long)

    async def touched() -> bool:
        return (await place.client.header(long))["lastUpdated"] > begun["lastUpdated"]

    await until(touched)
    first, second = place.reconciler(threshold_s=20.0), place.reconciler(threshold_s=20.0)
    second.holder = "another"
    stats = await first.run()
    assert (stats.stalled_runs, stats.reconciled_runs) == (0, 0)
    assert not (await second.run()).leader
    assert (await place.idle.queue.depth()).visible == 0
    code.gates["a"].set()
    await place.becomes(long, "completed")

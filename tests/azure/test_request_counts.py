"""What a run costs in requests, counted at the SDKs' own transports: a regression of the targets fails here.

Bounds are of requests, never of time: they hold however slow the machine is.
"""

from __future__ import annotations

import os

import pytest
from benchmarks.azure_engine import on_azure
from benchmarks.figures import REQUESTS, ROUND_TRIPS, sent
from benchmarks.laps import Lap, Load
from tests.emulators.stand_ins import StandIns

from flowcraft.distributed.services import WorkerSettings
from flowcraft_azure import AzureSettings, provision

pytestmark = pytest.mark.emulators

UNTIMED = WorkerSettings(status_max_age_s=3600, visibility_timeout_s=3600, touch_interval_s=3600)
"""What a worker sends by the clock (renewals, looks at a run's status) is left out: counts are exact."""


async def lap(stand_ins: StandIns, name: str, load: Load) -> Lap:
    """Run the load on a queue and a database of its own."""
    environment = {**os.environ, **stand_ins.environment, "FLOWCRAFT_COSMOS_DATABASE": name}
    settings = AzureSettings.from_environment(environment, name)
    await provision(settings)
    async with on_azure(settings, UNTIMED) as engine:
        return await engine.lap(load)


async def test_a_row_of_five_nodes_sends_what_it_must_and_nothing_else(
    stand_ins: StandIns, unique_name: str
) -> None:
    runs = 20
    measured = await lap(stand_ins, unique_name, Load("linear5", runs, 10))

    cosmos, queue, redis = (dict(measured.requests[name]) for name in ("cosmos", "queue", "redis"))
    assert cosmos == {
        "Create statuses": runs,
        "Read statuses": runs,
        "Replace statuses": 2 * runs,
        "Create contexts": 5 * runs,
    }
    assert (queue["send"], queue["delete"]) == (runs, runs)
    assert "update" not in queue
    assert {name: redis[name] for name in ("PUBLISH", "claim", "discharge")} == {
        "PUBLISH": runs,
        "claim": 5 * runs,
        "discharge": runs,
    }
    within_targets(measured, "linear5", receives=runs)


async def test_a_fan_of_eight_nodes_stays_within_its_targets(stand_ins: StandIns, unique_name: str) -> None:
    runs = 10
    measured = await lap(stand_ins, unique_name, Load("fan8", runs, 5))

    cosmos, queue = measured.requests["cosmos"], measured.requests["queue"]
    assert cosmos["Create contexts"] == 10 * runs
    assert cosmos["Create statuses"] + cosmos["Read statuses"] + cosmos["Replace statuses"] == 4 * runs
    assert (queue["send"], queue["delete"]) == (8 * runs, 8 * runs)
    within_targets(measured, "fan8", receives=4 * runs)


async def test_a_wide_fan_costs_no_more_a_node_than_a_small_one(
    stand_ins: StandIns, unique_name: str
) -> None:
    measured = await lap(stand_ins, unique_name, Load("wide1000", 1, 1))

    cosmos, queue = measured.requests["cosmos"], measured.requests["queue"]
    assert sum(cosmos.values()) <= 1002 + 10
    assert (queue["send"], queue["delete"]) == (1000, 1000)
    within_targets(measured, "wide1000", receives=400)


def within_targets(measured: Lap, workflow: str, *, receives: int) -> None:
    """Whether the targets hold; receives are bounded, because what they find depends on the machine."""
    received = measured.requests["queue"]["receive"]
    requests = sent(measured, "cosmos") + sent(measured, "queue") - received + min(received, receives)
    assert requests / measured.nodes <= REQUESTS.get(workflow, REQUESTS["fan8"])
    assert sent(measured, "redis") / measured.nodes <= ROUND_TRIPS[workflow]

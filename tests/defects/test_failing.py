"""Failures that the original swallows, and the settings of nodes that it never reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.defects.place import QUICK, Code, Place, flow

pytestmark = pytest.mark.emulators


async def test_a_failing_node_is_tried_again_and_then_fails_its_run_and_stops_its_siblings(
    place: Place, code: Code
) -> None:
    failing = {"params": {"fails": 9, "gate": "c runs"}, "config": {"maxRetries": 2}}
    await place.worker(flow("a>b a>c c>d", b=failing, c={"params": {"gate": "never"}}), code)
    run_id = await place.start()
    await code.has_reached("c")
    code.gates["c runs"].set()
    header = await place.becomes(run_id, "failed")
    assert header["errors"][0]["nodeKey"] == "b"
    assert "attempt 2 fails" in header["errors"][0]["message"]
    await place.drained()
    assert code.executed.count("b") == 2
    assert code.cancelled == ["c"]
    assert "d" not in code.executed


async def test_timeouts_and_retry_delays_of_a_node_are_kept(place: Place, code: Code) -> None:
    hanging = {"params": {"gate": "never"}, "config": {"timeout": 200, "maxRetries": 2, "retryDelay": 600}}
    await place.worker(flow("a>b", b=hanging), code, replace(QUICK, inline_retry_s=0.1))
    run_id = await place.start()
    header = await place.becomes(run_id, "awaiting")  # for the second attempt, without holding a worker
    assert header["awaiting"][0]["kind"] == "retry"
    header = await place.becomes(run_id, "failed")
    assert "200 ms" in header["errors"][0]["message"] or "0.2 s" in header["errors"][0]["message"]
    assert code.executed == ["a", "b", "b"]

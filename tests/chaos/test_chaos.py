"""A short chaos run; ``make chaos`` is the long one. No cluster is needed, but minutes of a quiet machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.chaos import azure, embedded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def test_fifty_runs_through_killed_workers_and_servers_end_as_in_memory(tmp_path: Path) -> None:
    findings, counts = await azure.chaos(50, 20261, say, tmp_path)
    assert findings.clean, "\n".join(findings.figures())
    assert findings.audited == 50
    for fault in (
        "worker killed (-9)",
        "worker frozen (-STOP, -CONT)",
        "Valkey flushed",
        "Valkey killed, restarted empty",
        "Azurite restarted",
        "Cosmos DB stand-in restarted",
        "reply dropped (cosmos)",
    ):
        assert counts[fault], fault


async def test_fifty_runs_on_one_file_survive_kills_a_full_disk_and_power_cuts(tmp_path: Path) -> None:
    findings, counts = await embedded.chaos(50, 20262, say, tmp_path)
    assert findings.clean, "\n".join(findings.figures())
    assert findings.audited == 50
    for fault in (
        "worker killed (-9)",
        "worker frozen (-STOP, -CONT)",
        "disk full for the workers",
        "power cut, garbage at the end of the log",
    ):
        assert counts[fault], fault

"""The same commands on the Azure backend, with the stand-ins behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.command import Command, read_until
from tests.emulators.stand_ins import StandIns

pytestmark = [pytest.mark.emulators, pytest.mark.timeout(180)]
"""Each command loads the SDKs: seconds on a busy machine."""


@pytest.fixture
def azure(stand_ins: StandIns, unique_name: str) -> dict[str, str]:
    """The variables of a queue and a database of the test's own, by the seed's names for the connections."""
    return {
        **stand_ins.environment,
        "FLOWCRAFT_QUEUE": unique_name,
        "FLOWCRAFT_COSMOS_DATABASE": unique_name,
        "FLOWCRAFT_LOG_FORMAT": "json",
    }


def test_provision_creates_what_lacks_once(shop: Command, azure: dict[str, str], unique_name: str) -> None:
    first = shop("provision", "-o", "json", env=azure)
    second = shop("provision", env=azure)

    outcomes = {(part["kind"], part["name"]): part["outcome"] for part in first.data}
    assert outcomes[("queue", unique_name)] == outcomes[("queue", f"{unique_name}-poison")] == "created"
    assert outcomes[("container", "contexts")] == outcomes[("container", "statuses")] == "created"
    assert first.code == second.code == 0
    assert "created" not in second.out


def test_a_run_goes_from_start_to_its_end(shop: Command, azure: dict[str, str], unique_name: str) -> None:
    assert shop("provision", env=azure).code == 0
    process = shop.begin("worker", "--app", "shop.flows:app", env=azure)
    try:
        started = json.loads(read_until(process, "worker started")[-1])
        ended = shop("start", "order", "--input", '{"amount": 42}', "--run-id", "one", "--wait", env=azure)
        described = shop("describe", "one", "-o", "json", env=azure)
        listed = shop("get", env=azure)
    finally:
        process.terminate()
        process.communicate(timeout=40)

    assert (started["backend"], started["queue"]) == ("azure", unique_name)
    assert (ended.code, ended.out) == (0, "one\n")
    assert {node["key"]: node["status"] for node in described.data["nodes"]} == {
        "charge": "completed",
        "ship": "completed",
        "approve": "skipped",
        "refund": "skipped",
    }
    assert listed.rows["one"][1:3] == ["Succeeded", "4/4"]
    assert process.returncode == 0
    assert not Path(shop.db).exists()


def test_a_database_that_was_not_provisioned_is_told_in_one_line(
    shop: Command, azure: dict[str, str]
) -> None:
    ended = shop("get", env=azure)

    assert ended.code == 2
    assert "provision" in ended.error_line

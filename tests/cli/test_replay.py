"""A recorded run gone through once more: nothing is executed, and what was known at each step is told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.cli.command import FOREIGN, SHOP, Command, Ended
from tests.cli.test_refusals import refusal

from flowcraft_cli.main import run_command


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded file in which the four runs of the shop came to rest."""
    db = tmp_path_factory.mktemp("recorded") / "runs.db"
    assert Command(SHOP, db)("run", "-f", "runs.yaml", "--app", "shop.flows:app").code == 1
    return db


@pytest.fixture(autouse=True)
def db(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it, which the commands of the test use."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    shutil.copy(recorded, tmp_path / "runs.db")
    monkeypatch.setenv("FLOWCRAFT_DB", str(tmp_path / "runs.db"))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    code = run_command(arguments)
    return Ended(code, *capsys.readouterr())


def test_a_run_is_gone_through_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    before = told(capsys, "describe", "order-1001", "-o", "json").data

    steps = told(capsys, "replay", "order-1001", "-o", "json").data["steps"]

    charge, ship = (next(step for step in steps if step["key"] == key) for key in ("charge", "ship"))
    assert (charge["next"], ship["next"]) == (["ship"], [])
    assert sorted(step["key"] for step in steps if step["status"] == "skipped") == ["approve", "refund"]
    assert (charge["input"], charge["output"]) == ({"amount": 42}, {"paid": 42})
    assert (charge["takenTo"], sorted(charge["notTakenTo"])) == (["ship"], ["approve", "refund"])
    assert ship["input"] == {"paid": 42}
    assert told(capsys, "describe", "order-1001", "-o", "json").data == before


def test_it_stops_where_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, "replay", "order-1001", "--until", "charge").out

    assert out.splitlines()[0].startswith("1. charge  completed")
    assert "edges:   -> ship" in out
    assert out.splitlines()[-1].split() == ["next:", "ship"]


def test_a_run_that_waits_or_failed_is_replayed_as_far_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    waits = told(capsys, "replay", "order-1003", "-o", "json").data["steps"]
    failed = told(capsys, "replay", "order-1004").out

    assert (waits[-1]["key"], waits[-1]["status"]) == ("approve", "awaiting")
    assert "the amount must not be negative" in failed


def test_what_is_not_recorded_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "replay", "order-1001", "--until", "nothing")

    assert "has nothing recorded of nothing" in line

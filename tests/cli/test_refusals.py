"""Wrong use of every kind: one line that says what to do, exit code 2, nothing on stdout."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import structlog
from tests.cli.command import FOREIGN, SHOP, Command, changed

from flowcraft.embedded import open_embedded
from flowcraft_cli.main import run_command
from flowcraft_cli.usage import EXPECTED


@pytest.fixture(autouse=True)
def in_the_shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """These commands end before they begin, so they run in this process; what they import goes again."""
    monkeypatch.chdir(SHOP)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLOWCRAFT_DB", str(tmp_path / "runs.db"))
    asyncio.run(make_file(tmp_path / "runs.db"))
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()  # else later tests log to a stream that was closed after this one
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        del sys.modules[name]


async def make_file(file: Path) -> None:
    """An embedded file without runs."""
    async with open_embedded(file, "flowcraft"):
        pass


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line by which a command is refused."""
    code = run_command(arguments)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("flowcraft")
    return err


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"blueprint": {"name": "ordre"}}, "has no blueprint 'ordre'; it has order"),
        ({"blueprint": {"name": "order", "version": "9"}}, "has no version 9 of order; it has 1"),
        (
            {"blueprint": {"configMapRef": {"name": "a", "key": "b"}}},
            "a ConfigMap is only there",
        ),
        ({"inputs": {"amount": 1}}, "spec.inputs: is not a field here; did you mean input?"),
        ({"deadline": "soon"}, "spec.deadline"),
        (
            {"blueprint": {"inline": {"id": "x", "nodes": [{"id": "a", "uses": "nothing"}], "edges": []}}},
            "MISSING_NODE_IMPLEMENTATION",
        ),
    ],
)
def test_a_wrong_manifest(
    capsys: pytest.CaptureFixture[str], shop: Command, spec: dict[str, object], told: str
) -> None:
    manifest = str(shop.folder / changed(shop, **spec))

    assert told in refusal(capsys, "run", "-f", manifest, "--app", "shop.flows:app")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-f", "nowhere.yaml", "--app", "shop.flows:app"], "nowhere.yaml: No such file"),
        (
            ["-f", "shop/flows.py", "--app", "shop.flows:app"],
            "is Python code; name the application in it: --app shop.flows:app",
        ),
        (["-f", "pool.yaml", "--app", "shop.flows:app"], "no WorkflowRun in pool.yaml"),
        (["-f", "run.yaml"], "name the application: --app"),
        (["-f", "run.yaml", "--app", "shop.flow:app"], "there is no module 'shop.flow'"),
        (["-f", "run.yaml", "--app", "shop.flows:application"], "has no attribute 'application'; it has app"),
        (["-f", "run.yaml", "--app", "shop"], "write module.path:attribute"),
        (["--app", "shop.flows:app"], "see `flowcraft run --help`"),
        (["-f", "run.yaml", "--app", "shop.flows:app", "--db", "run.yaml"], "run.yaml"),
    ],
)
def test_wrong_use_of_run(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert told in refusal(capsys, "run", *arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see `flowcraft --help`"),
        (["get", "--all-of-it"], "see `flowcraft get --help`"),
        (["get", "-o", "xml"], "see `flowcraft get --help`"),
        (["get", "nobody"], "there is no run 'nobody' in queue flowcraft; `flowcraft get` lists the runs"),
        (["describe", "nobody"], "there is no run 'nobody'"),
        (["watch", "nobody"], "there is no run 'nobody'"),
        (["cancel", "nobody"], "there is no run 'nobody'"),
        (["suspend", "nobody"], "there is no run 'nobody'"),
        (["resume", "nobody"], "there is no run 'nobody'"),
        (["decide", "nobody", "approve"], "there is no run 'nobody'"),
        (["decide", "nobody", "approve", "--output", "{by: ada}"], "--output is no JSON"),
        (["start", "order", "--input", "[1]"], "--input must be a JSON object"),
        (["start", "order", "--input", "@nowhere.json"], "nowhere.json cannot be read"),
        (["start", ""], "name the blueprint"),
        (["start", "order", "--deadline", "soon"], "write it like 30s, 5m or 1h30m"),
        (["retry", "nobody", "--set", "rate"], "write it like KEY=VALUE"),
        (["retry", "nobody", "--set", "rate={"], "--set rate: the value is no JSON"),
        (["retry", "nobody", "--set", "rate=1", "--set", "rate=2"], "--set gives rate twice"),
        (["rerun", "nobody", "--input", "7"], "--input must be a JSON object"),
        (["provision"], "no Azure connection is set"),
        (["lint"], "give a file, or an application"),
        (
            ["lint", "shop/flows.py"],
            "shop/flows.py is Python code; name the application in it: --app shop.flows:app",
        ),
        (["diagram"], "give a blueprint, or a run"),
        (["diagram", "ordre", "--app", "shop.flows:app"], "has no blueprint ordre; it has order"),
        (["get", "--backend", "azure"], "no storage account: set FLOWCRAFT_QUEUE_CONNECTION_STRING"),
        (["worker", "--backend", "embedded"], "name the application: --app"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert told in refusal(capsys, *arguments)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "id: order\nnodes: [{id: a, uses: b}]\n",
            "mine.yaml is a blueprint, and a run of it needs a manifest",
        ),
        ("spec: {}\n", "the manifest has no apiVersion and no kind"),
        ("kind: WorkflowRun\n", "the manifest has no apiVersion and kind: WorkflowRun"),
    ],
)
def test_what_is_no_manifest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)

    assert told in refusal(capsys, "run", "-f", str(file), "--app", "shop.flows:app")


def test_lint_tells_parameters_that_no_dependency_fills(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking.py").write_text(
        "from flowcraft import App, NodeContext\n"
        "app = App('mine')\n"
        "@app.node('charge')\n"
        "async def charge(ctx: NodeContext, *, bank: object) -> None: ...\n"
        "app.flow('order').node('charge')\n"
    )
    monkeypatch.chdir(tmp_path)
    code = run_command(["lint", "--app", "lacking:app"])
    del sys.modules["lacking"]

    assert code == 1
    assert "mine: error: MISSING_DEPENDENCY: node 'charge' asks for `bank" in capsys.readouterr().out


def test_an_error_is_known_as_one_for_users_without_importing_anything() -> None:
    for name in EXPECTED:
        module, _, kind = name.partition(":")
        error = getattr(import_module(module), kind)
        assert f"{error.__module__}:{error.__qualname__}" == name


def test_a_broken_installation_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flowcraft.distributed.client", "flowcraft.errors", "flowcraft_api.manifest"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails

    assert "ModuleNotFoundError" in refusal(capsys, "run", "-f", "run.yaml", "--app", "shop.flows:app")


def test_a_wrong_setting_names_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWCRAFT_CONCURRENCY", "many")

    assert "FLOWCRAFT_CONCURRENCY is 'many'; it must be a number" in refusal(capsys, "get")


def test_a_defect_is_one_line_too_and_tells_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcraft_cli.finding.list_runs", None)

    line = refusal(capsys, "get")

    assert "TypeError" in line
    assert "set FLOWCRAFT_DEBUG=1 to see where" in line

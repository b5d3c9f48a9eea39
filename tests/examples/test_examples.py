"""Every example runs as its README says, on this machine, from its own folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.command import CLONE, Command

from flowcraft import App, Decision, FlowRuntime, lint, load_app
from flowcraft.diagram import mermaid
from flowcraft.implementation import BUILT_IN_USES
from flowcraft_api.manifest import parse_workflow_run

EXAMPLES = CLONE / "examples"
ORIGINAL = CLONE / "tests" / "parity" / "node_modules"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if (folder / "flows.py").exists())


@pytest.fixture
def example(tmp_path: Path) -> Any:
    """The command in a copy of an example."""

    def copy(name: str) -> Command:
        ignored = shutil.ignore_patterns(".flowcraft", "__pycache__", ".mypy_cache")
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored)
        return Command(tmp_path / name, tmp_path / "runs.db")

    return copy


def outputs(command: Command, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Phase and output of each run of the example's manifests, by the run's name."""
    ended = command("run", "-f", "run.yaml", "--app", "flows:app", "-o", "json", *arguments)
    assert ended.code == code, ended.err
    items = ended.data["items"] if ended.data["kind"] == "List" else [ended.data]
    return {
        item["metadata"]["name"]: (item["status"]["phase"], item["status"].get("output")) for item in items
    }


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) + 1 >= 9, "the shop is one, too"


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_small_and_says_what_it_is(name: str) -> None:
    folder = EXAMPLES / name
    assert len((folder / "flows.py").read_text().splitlines()) <= 130
    assert len((folder / "README.md").read_text().splitlines()) <= 42
    for document in yaml.safe_load_all((folder / "run.yaml").read_text()):
        parse_workflow_run(document)


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> App:
    """An example's app, in this process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "flows", raising=False)
    app = load_app("flows:app", search_path=EXAMPLES / name)
    monkeypatch.delitem(sys.modules, "flows")
    return app


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_without_mistakes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = loaded(name, monkeypatch)
    for blueprint in app.blueprints.values():
        assert lint(blueprint, app.registry) == []


def test_saga_undoes_in_order_what_was_done(example: Any) -> None:
    found = outputs(saga := example("saga"))
    assert found["trip-ada"][0] == "Succeeded"
    assert found["trip-ada"][1]["confirm"]["confirmed"].keys() == {"flight", "hotel", "car"}
    undone = found["trip-bob"][1]["apologise"]["apology"]
    assert undone["cancelled"] == "flight"
    assert undone["because"] == {"cancelled": "hotel", "because": {"reason": "no car left"}}
    nodes = saga("describe", "trip-bob", "-o", "json").data["nodes"]
    ran = [node["key"] for node in nodes if node["status"] == "completed"]
    assert ran == ["flight", "hotel", "car", "cancel-hotel", "cancel-flight", "apologise"]


def test_approval_waits_for_a_person_and_refuses_nonsense(example: Any) -> None:
    found = outputs(approval := example("approval"), code=1)
    assert found["book"] == (
        "Succeeded",
        {"pay": {"entered": "ada: 42.50", "approved by": "nobody"}},
    )
    assert found["flight"][1]["pay"] == {"entered": "bob: 420", "approved by": "grace"}
    assert found["dinner"][0] == "Awaiting"
    assert found["nonsense"][0] == "Failed"
    error = approval("describe", "nonsense", "-o", "json").data["nodes"][0]["error"]
    assert error["message"] == (
        "the input of node check is wrong: input.amount: Input should be greater than 0"
    )


def test_documents_keeps_the_order_and_says_what_it_could_not_read(example: Any) -> None:
    ((phase, output),) = outputs(example("documents")).values()
    assert phase == "Succeeded"
    assert output["file"]["text"].splitlines() == [
        "Dear Ada, the engine weaves",
        "algebraic patterns, just as",
        "the loom weaves flowers and leaves.",
    ]
    assert (output["file"]["words"], output["file"]["unreadable"]) == (15, 1)


def test_nightly_etl_is_started_by_its_cron_job_once_a_night(example: Any) -> None:
    etl = example("nightly-etl")
    ((phase, output),) = outputs(etl).values()
    assert (phase, output["load"]) == ("Succeeded", {"rows": 7, "open": 40})
    job = yaml.safe_load((etl.folder / "cronjob.yaml").read_text())
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    embedded = {"FLOWCRAFT_BACKEND": "embedded", "FLOWCRAFT_QUEUE": "default-etl"}
    assert {each["name"] for each in container["env"]} == embedded.keys()
    path = f"{CLONE / '.venv' / 'bin'}:{os.environ['PATH']}"
    for _ in range(2):
        started = subprocess.run(
            [*container["command"], *container["args"]],
            env={**etl.environment(embedded), "PATH": path},
            cwd=etl.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.fullmatch(r"nightly-\d{4}-\d\d-\d\d\n", started.stdout)
    runs = etl("get", "-o", "json", env=embedded).data["items"]
    assert [run["spec"]["blueprint"]["name"] for run in runs] == ["nightly"]


def test_agent_thinks_until_it_has_an_answer(example: Any) -> None:
    ((phase, output),) = outputs(agent := example("agent")).values()
    assert (phase, output["answer"]) == ("Succeeded", {"answer": "Together they cost 7.", "turns": 4})
    second = agent("describe", "question-1", "--node", "think#2").out
    assert "Took edge:  think -> use-tool (tool)" in second
    assert '"argument": "pears"' in second


def test_sweep_tries_200_settings_and_takes_the_best(example: Any) -> None:
    found = outputs(sweep := example("sweep"))
    ((phase, output),) = found.values()
    assert phase == "Succeeded"
    chosen = sweep("describe", "sweep-1", "--node", "choose", "-o", "json").data["nodes"][0]["output"]
    assert chosen["trials"] + chosen["diverged"] == 200
    assert chosen["diverged"] > 0
    assert output["refine"]["loss"] < chosen["best"]["loss"]
    assert "trials_scatter (200 children)" in sweep("describe", "sweep-1").out


def test_payment_waits_for_the_call_and_goes_on_with_it(example: Any) -> None:
    payment = example("payment")
    once = ("--run-id", "payment-1")
    assert outputs(payment, *once)["payment-1"][0] == "Awaiting"
    assert payment("decide", "payment-1", "paid", "--output", '{"status": "settled"}').code == 0
    assert outputs(payment, *once)["payment-1"] == (
        "Succeeded",
        {"ship": {"shipped": {"status": "settled"}}},
    )


async def test_payment_waits_in_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    app = loaded("payment", monkeypatch)
    runtime = FlowRuntime(blueprints=[app.blueprints["payment"]], registry=app.registry)
    waiting = await runtime.run("payment", {"amount": 42})
    assert (waiting.status, list(waiting.awaiting)) == ("awaiting", ["paid"])
    ended = await runtime.resume(waiting, {"paid": Decision(output={"status": "refused"})})
    assert ended.output == {"remind": {"reminded": True, "said": {"status": "refused"}}}


def test_newsletter_has_every_kind_of_node_and_goes_through_all_of_them(example: Any) -> None:
    newsletter = example("newsletter")
    once = ("--run-id", "monday")
    assert outputs(newsletter, *once)["newsletter-1"][0] == "Awaiting"
    newsletter("decide", "monday", "approve", "--action", "approved")
    assert outputs(newsletter, *once)["newsletter-1"][0] == "Awaiting"
    newsletter("decide", "monday", "receipt", "--output", '{"opened": 2}')
    assert outputs(newsletter, *once)["newsletter-1"] == (
        "Succeeded",
        {"report": {"sent": {"to": 3, "text": "News. News. News."}, "opened": 2}},
    )


def test_the_picture_of_the_newsletter_is_that_of_its_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    blueprint = loaded("newsletter", monkeypatch).blueprints["newsletter"]
    assert {node.uses for node in blueprint.nodes} >= BUILT_IN_USES
    for page in (EXAMPLES / "newsletter" / "README.md", CLONE / "docs" / "authoring.md"):
        assert f"```mermaid\n{mermaid(blueprint)}```" in page.read_text()


def test_migration_runs_the_blueprint_that_the_original_writes(example: Any, tmp_path: Path) -> None:
    migration = example("migration")
    (tmp_path / "node_modules").symlink_to(ORIGINAL)
    written = subprocess.run(
        ["node", migration.folder / "loan.mjs"], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(written) == json.loads((migration.folder / "blueprint.json").read_text())
    assert outputs(migration)["loan-1"] == (
        "Succeeded",
        {"approve": {"text": "We are glad to lend you the money.", "to": "ada"}},
    )

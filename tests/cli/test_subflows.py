"""Subflows and webhooks at the command line: what waits is seen from the run that it belongs to."""

from __future__ import annotations

from typing import Any

from tests.cli.command import Command
from tests.cli.test_verbs import worker

RUN = """
apiVersion: flowcraft.io/v1alpha1
kind: WorkflowRun
metadata: {name: order-1}
spec: {poolRef: {name: local}, blueprint: {name: NAME}, input: {amount: 42}DECISIONS}
"""


def run(command: Command, name: str, *, decisions: str = "", **environment: str) -> None:
    manifest = RUN.replace("NAME", name).replace("DECISIONS", decisions)
    (command.folder / "run.yaml").write_text(manifest)
    ended = command("run", "-f", "run.yaml", "--app", "nested:app", "--run-id", "r", env=environment)
    assert ended.code == 0, ended.err


def runs(command: Command) -> dict[str, dict[str, Any]]:
    """Id and status of each run, by name."""
    listed = command("get", "-o", "json").data["items"]
    return {each["metadata"]["name"]: {"uid": each["metadata"]["uid"], **each["status"]} for each in listed}


def test_a_run_that_waits_in_a_subflow_is_shown_with_it_and_decided_from_it(slow: Command) -> None:
    run(slow, "order")

    seen = runs(slow)
    (entry,) = seen["order-1"]["awaiting"]
    assert (entry["kind"], entry["runId"]) == ("run", seen["order-1/check"]["uid"])
    assert seen["order-1/check"]["awaiting"][0]["nodeKey"] == "approve"
    assert slow("decide", "order-1", "check/approve", "--output", '"yes"').code == 0
    with worker(slow, "nested:app"):
        slow("watch", "order-1")

    seen = runs(slow)
    assert (seen["order-1"]["phase"], seen["order-1/check"]["phase"]) == ("Succeeded", "Succeeded")


def test_a_decision_of_the_manifest_reaches_into_a_subflow(slow: Command) -> None:
    run(slow, "order", decisions=', decisions: [{nodeKey: check/approve, output: "yes"}]')

    assert runs(slow)["order-1"]["phase"] == "Succeeded"


def test_the_address_of_a_webhook_is_shown_where_one_is_set_up(slow: Command) -> None:
    run(slow, "called", FLOWCRAFT_WEBHOOK_URL="https://hooks.example.com")

    (entry,) = runs(slow)["order-1/call"]["awaiting"]
    assert entry["kind"] == "webhook"
    assert entry["address"].startswith("https://hooks.example.com/r.call-")

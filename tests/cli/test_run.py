"""`flowcraft run`: manifests on this machine, without any server."""

from __future__ import annotations

import re
import signal

from tests.cli.command import Command, changed, read_until
from tests.cli.waiting import wait_for_line

SLOW_RUN = """
apiVersion: flowcraft.io/v1alpha1
kind: WorkflowRun
metadata: {name: slow}
spec: {poolRef: {name: any}, blueprint: {name: slow}}
"""


def said(command: Command) -> list[str]:
    file = command.folder / "said"
    return file.read_text().splitlines() if file.exists() else []


def test_the_shop_ends_with_the_table_of_kubectl(shop: Command) -> None:
    ended = shop("run", "-f", "runs.yaml", "--app", "shop.flows:app")

    heading, *rows = ended.out.splitlines()
    assert heading == "NAME         POOL     BLUEPRINT   STATUS      PROGRESS   DURATION   AGE"
    shape = r"(order-100\d)   orders   order       (\w+) +(\d)/4        [\d.]+s +\d+s"
    assert [re.fullmatch(shape, row).groups() for row in rows] == [  # type: ignore[union-attr]
        ("order-1001", "Succeeded", "4"),
        ("order-1002", "Succeeded", "4"),
        ("order-1003", "Awaiting", "2"),
        ("order-1004", "Failed", "1"),
    ]
    assert "order-1004: NodeFailed: node charge failed: the amount must not be negative" in ended.err
    assert "flowcraft decide order-1003 approve --action approved" in ended.err
    assert ended.code == 1


def test_one_run_went_through_each_branch(shop: Command) -> None:
    ended = shop("run", "-f", "runs.yaml", "--app", "shop.flows:app", "--run-id", "monday", "-o", "json")

    items = {item["metadata"]["name"]: item for item in ended.data["items"]}
    assert items["order-1001"]["status"]["output"]["ship"]["after"] == {"paid": 42}
    assert items["order-1002"]["status"]["output"] == {"refund": {"refunded": 0}}
    # With several manifests, the run id that was given begins each run's id.
    assert {name: item["metadata"]["uid"] for name, item in items.items()} == {
        f"order-100{number}": f"monday-order-100{number}" for number in (1, 2, 3, 4)
    }


def test_only_a_target_and_what_lies_before_it_run(shop: Command) -> None:
    ended = shop("run", "-f", "run.yaml", "--app", "shop.flows:app", "--target", "charge", "-o", "json")
    assert ended.data["status"]["output"] == {"charge": {"paid": 42}}
    assert ended.data["status"]["progress"] == "1/1"
    assert ended.code == 0

    unknown = shop("run", "-f", "run.yaml", "--app", "shop.flows:app", "--target", "nothing")
    assert "blueprint order has no node 'nothing'; it has approve, charge, refund, ship" in unknown.err
    assert unknown.code == 2


def test_each_call_is_a_new_run_and_success_is_zero(shop: Command) -> None:
    for _ in range(2):
        ended = shop("run", "-f", "run.yaml", "--app", "shop.flows:app")
        assert ended.rows["order-1001"][2:4] == ["Succeeded", "4/4"]
        assert (ended.code, ended.err) == (0, "")

    assert len(shop("get", "-o", "json").data["items"]) == 2


def test_a_run_id_makes_it_idempotent(slow: Command) -> None:
    (slow.folder / "go").touch()
    (slow.folder / "run.yaml").write_text(SLOW_RUN)

    first, second = (slow("run", "-f", "run.yaml", "--app", "slow:app", "--run-id", "one") for _ in range(2))

    assert first.rows["slow"][:3] == second.rows["slow"][:3] == ["any", "slow", "Succeeded"]
    assert said(slow) == ["first", "held begins", "held ends", "last"]
    assert slow("get", "one", "-o", "json").data["metadata"]["uid"] == "one"


def test_a_run_id_that_was_used_with_another_input_is_refused(shop: Command) -> None:
    shop("run", "-f", "run.yaml", "--app", "shop.flows:app", "--run-id", "one")

    ended = shop(
        "run", "-f", changed(shop, input={"amount": 7}), "--app", "shop.flows:app", "--run-id", "one"
    )

    assert ended.code == 2
    assert "another input" in ended.error_line
    assert "--run-id" in ended.error_line


def test_decisions_of_the_manifest_are_given_when_the_node_waits(shop: Command) -> None:
    decisions = [{"nodeKey": "approve", "action": "approved", "output": {"by": "ada"}}]
    manifest = changed(shop, input={"amount": 5000}, decisions=decisions)

    ended = shop("run", "-f", manifest, "--app", "shop.flows:app", "-o", "json")

    assert ended.data["status"]["phase"] == "Succeeded"
    assert ended.data["status"]["output"]["ship"]["after"] == {"by": "ada"}


def test_a_suspended_manifest_does_not_move(shop: Command) -> None:
    ended = shop("run", "-f", changed(shop, suspend=True), "--app", "shop.flows:app")

    assert ended.rows["order-1001"][2] == "Suspended"
    assert "flowcraft resume order-1001" in ended.err
    assert ended.code == 0


def test_a_cancelled_manifest_is_cancelled(shop: Command) -> None:
    ended = shop("run", "-f", changed(shop, cancel=True), "--app", "shop.flows:app")

    assert ended.rows["order-1001"][2] == "Cancelled"
    assert ended.code == 1


def test_an_inline_blueprint_runs(shop: Command) -> None:
    inline = {"id": "just-ship", "nodes": [{"id": "ship", "uses": "ship"}], "edges": []}

    ended = shop("run", "-f", changed(shop, blueprint={"inline": inline}), "--app", "shop.flows:app")

    assert ended.rows["order-1001"][1:4] == ["just-ship", "Succeeded", "1/1"]


def test_a_manifest_is_read_from_standard_input(shop: Command) -> None:
    manifest = (shop.folder / "run.yaml").read_text()

    ended = shop("run", "-f", "-", "--app", "shop.flows:app", stdin=manifest)

    assert ended.code == 0


def test_a_sleeping_run_is_waited_for(slow: Command) -> None:
    (slow.folder / "run.yaml").write_text(SLOW_RUN.replace("{name: slow}}", "{name: nap}}"))

    ended = slow("run", "-f", "run.yaml", "--app", "slow:app", "-o", "json")

    assert ended.data["status"]["phase"] == "Succeeded"
    assert said(slow) == ["first", "last"]


def test_a_killed_run_goes_on_where_it_was(slow: Command) -> None:
    (slow.folder / "run.yaml").write_text(SLOW_RUN)
    arguments = ("run", "-f", "run.yaml", "--app", "slow:app", "--run-id", "one")
    # The killed worker's message is hidden until its visibility runs out.
    quick = {"FLOWCRAFT_VISIBILITY_TIMEOUT_S": "1.5"}
    process = slow.begin(*arguments, env=quick)
    try:
        wait_for_line(slow, process, "held begins")
    finally:
        process.kill()
        process.communicate()
    (slow.folder / "go").touch()

    ended = slow(*arguments, env=quick)

    assert ended.rows["slow"][2] == "Succeeded"
    assert said(slow) == ["first", "held begins", "held begins", "held ends", "last"]


def test_ctrl_c_lets_running_nodes_end(slow: Command) -> None:
    (slow.folder / "run.yaml").write_text(SLOW_RUN)
    process = slow.begin("run", "-f", "run.yaml", "--app", "slow:app", "--run-id", "one")
    try:
        wait_for_line(slow, process, "held begins")
        process.send_signal(signal.SIGINT)
        read_until(process, "stopping")
        (slow.folder / "go").touch()
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()

    assert process.returncode == 130
    assert "held ends" in said(slow)
    assert "slow" in out

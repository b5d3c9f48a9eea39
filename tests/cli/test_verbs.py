"""Runs that are started, shown and steered by single commands, with workers beside them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.cli.command import SHOP, Command, changed, read_until

from flowcraft.distributed.message import poison_body
from flowcraft.embedded import open_embedded


@contextmanager
def worker(command: Command, app: str) -> Iterator[None]:
    """A worker beside the test's commands; told to stop at the end."""
    process = command.begin("worker", "--app", app, env={"FLOWCRAFT_LOG_FORMAT": "json"})
    try:
        read_until(process, "worker started")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=40)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded file in which the four runs of the shop came to rest; each test takes a copy."""
    db = tmp_path_factory.mktemp("settled") / "runs.db"
    assert Command(SHOP, db)("run", "-f", "runs.yaml", "--app", "shop.flows:app").code == 1
    assert not db.with_name("runs.db-wal").exists(), "a file that was closed is one file"
    return db


@pytest.fixture
def waiting(shop: Command, settled: Path) -> Command:
    """The four runs of the shop; order-1003 waits for a decision."""
    shutil.copy(settled, shop.db)
    return shop


def test_a_started_run_is_taken_by_a_worker(shop: Command) -> None:
    with worker(shop, "shop.flows:app"):
        ended = shop("start", "order", "--input", '{"amount": 42}', "--run-id", "one", "--wait")

    assert (ended.code, ended.out) == (0, "one\n")
    assert shop("get", "one").rows["one"][1:3] == ["Succeeded", "4/4"]


def test_whoever_waits_learns_the_id_and_why_the_run_does_not_go_on(shop: Command) -> None:
    with worker(shop, "shop.flows:app"):
        process = shop.begin("start", "ordre", "--run-id", "one", "--wait")
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "one\n"
            told = read_until(process, "BlueprintUnknown")
            assert shop("cancel", "one").code == 0
            assert process.wait(timeout=40) == 1
        finally:
            process.kill()
            process.communicate()

    assert told == [
        "one: BlueprintUnknown: no worker of queue flowcraft runs blueprint ordre so far: "
        "deploy an app that does\n"
    ]


def test_a_run_that_fails_is_exit_code_one_for_whoever_waits(shop: Command) -> None:
    with worker(shop, "shop.flows:app"):
        ended = shop("start", "order", "--input", '{"amount": -5}', "--run-id", "one", "--wait", "-o", "json")
        watched = shop("watch", "one")
    unwaited = shop("start", "order", "--input", '{"amount": -5}', "--run-id", "one")

    assert ended.code == watched.code == 1
    assert "one: NodeFailed: node charge failed: " in ended.err
    assert (unwaited.code, unwaited.out) == (0, "one\n")
    assert ended.data["status"]["failures"][0]["nodeKey"] == "charge"
    assert watched.rows["one"][1] == "Failed"


def test_starting_twice_with_one_id_is_one_run(shop: Command) -> None:
    for _ in range(2):
        assert shop("start", "order", "--run-id", "one").out == "one\n"

    assert len(shop("get", "-o", "json").data["items"]) == 1


def test_a_decision_lets_the_run_go_on(waiting: Command) -> None:
    answer = ("decide", "order-1003", "approve", "--action", "approved", "--output", '{"by": "ada"}')

    decided = waiting(*answer)
    with worker(waiting, "shop.flows:app"):
        watched = waiting("watch", "order-1003")
    again = waiting(*answer)
    other = waiting("decide", "order-1003", "approve", "--action", "refused", "--force")

    assert decided.code == 0
    assert "flowcraft worker --app MODULE:ATTRIBUTE" in decided.error_line
    assert watched.out.splitlines()[-1].split()[3] == "Succeeded"
    output = waiting("get", "order-1003", "-o", "json").data["status"]["output"]
    assert output["ship"]["after"] == {"by": "ada"}
    assert (again.code, again.err) == (0, "")
    assert other.code == 2
    assert "already" in other.error_line


def test_an_action_that_no_edge_asks_for_is_refused_unless_forced(waiting: Command) -> None:
    misspelt = waiting("decide", "order-1003", "approve", "--action", "aproved")
    forgotten = waiting("decide", "order-1003", "approve")
    forced = waiting("decide", "order-1003", "approve", "--action", "aproved", "--force")

    assert (misspelt.code, "edges ask for approved" in misspelt.error_line) == (2, True)
    assert (forgotten.code, "without an action" in forgotten.error_line) == (2, True)
    assert forced.code == 0


def test_a_run_goes_on_as_a_new_one_and_is_deleted(waiting: Command) -> None:
    with worker(waiting, "shop.flows:app"):
        retried = waiting("retry", "order-1004", "--wait")
        mended = waiting("retry", "order-1004", "--input", '{"amount": 42}', "--set", "by=ada", "--wait")
        again = waiting("rerun", "order-1001", "--from", "ship", "--run-id", "again", "--wait", "-o", "json")
    other = waiting("retry", retried.out.strip(), "--input", '{"amount": 43}')
    refused = waiting("retry", "again")
    described = waiting("describe", "again")

    assert retried.code == 1, "it fails for the same reason as before"
    assert retried.out.strip().endswith("-r1")
    assert mended.code == 0
    assert mended.out.strip().endswith("-r2"), "the name means the newest run of that name"
    assert "with another input and context changed: by" in waiting("describe", "order-1004").out
    assert (other.code, "was made before, with another input" in other.error_line) == (2, True)
    assert (again.code, again.data["status"]["phase"]) == (0, "Succeeded")
    assert (refused.code, "rerun" in refused.error_line) == (2, True)
    assert "again from ship; " in described.out
    assert waiting("delete", "again").code == 0


def test_a_decision_for_a_node_that_does_not_wait_is_refused(waiting: Command) -> None:
    ended = waiting("decide", "order-1003", "ship", "--action", "approved")

    assert ended.code == 2
    assert "ship" in ended.error_line


def test_suspend_resume_and_cancel(waiting: Command) -> None:
    assert waiting("suspend", "order-1003").rows["order-1003"][2] == "Suspended"
    assert waiting("resume", "order-1003").rows["order-1003"][2] in ("Awaiting", "Running")
    assert waiting("cancel", "order-1003").rows["order-1003"][2] == "Cancelled"
    assert waiting("cancel", "order-1003").code == 0


def test_a_run_that_has_ended_cannot_be_changed(waiting: Command) -> None:
    for verb in ("cancel", "suspend", "resume"):
        ended = waiting(verb, "order-1001")
        assert ended.code == 2
        assert "already completed" in ended.error_line


def test_describe_tells_what_became_of_each_node(waiting: Command) -> None:
    failed = waiting("describe", "order-1004").out
    described = waiting("describe", "order-1003", "-o", "yaml").out

    assert "Status:     Failed (NodeFailed)" in failed
    assert "charge   failed" in failed
    assert "NonRetryableError: the amount must not be negative" in failed
    assert "&id" not in described, "values are written out where they stand"
    nodes = {node["key"]: node for node in yaml.safe_load(described)["nodes"]}
    states = {key: node["status"] for key, node in nodes.items()}
    assert states == {"charge": "completed", "refund": "skipped", "approve": "awaiting"}
    assert nodes["charge"]["input"] == {"amount": 5000}
    assert nodes["approve"]["input"] == nodes["charge"]["output"] == {"paid": 5000}


def test_describe_shows_one_node_in_full(waiting: Command) -> None:
    charge = waiting("describe", "order-1004", "--node", "charge").out
    nobody = waiting("describe", "order-1004", "--node", "nobody")

    assert 'Input:      {"amount": -5}' in charge
    assert "Raised at:  shop.flows:" in charge
    assert nobody.code == 2
    assert nobody.error_line.endswith("run order-1004 has no node key nobody yet; it has charge")


def test_get_shows_the_runs_asked_for(waiting: Command) -> None:
    active = waiting("get", "--active")
    two = waiting("get", "order-1001", "order-1004")
    wide = waiting("get", "order-1004", "-o", "wide")

    assert list(active.rows) == ["order-1003"]
    assert list(two.rows) == ["order-1001", "order-1004"]
    assert wide.out.splitlines()[0].endswith("AGE   VERSION   REASON       RUN ID") or "RUN ID" in wide.out
    assert "NodeFailed" in wide.out


def test_a_name_means_the_newest_run_but_is_not_guessed_when_one_is_changed(waiting: Command) -> None:
    waiting("run", "-f", "runs.yaml", "--app", "shop.flows:app")
    newest = waiting("get", "-o", "json").data["items"][-4:]
    newest_id = next(item["metadata"]["uid"] for item in newest if item["metadata"]["name"] == "order-1003")

    shown = waiting("get", "order-1003", "-o", "json")
    changed = waiting("cancel", "order-1003")

    assert shown.data["metadata"]["uid"] == newest_id
    assert changed.code == 2
    assert newest_id in changed.error_line
    assert waiting("cancel", newest_id).code == 0


def test_a_run_is_drawn(waiting: Command) -> None:
    drawn = waiting("diagram", "order-1003").out

    assert drawn.startswith("flowchart TD\n")
    assert "class n1 awaiting" in drawn
    assert waiting("diagram", "--run", "order-1003").out == drawn


def test_watch_tells_what_becomes_of_each_node(waiting: Command) -> None:
    told = waiting("watch", "order-1001", "--nodes").out.splitlines()

    assert [line.split()[:2] for line in told] == [
        ["order-1001/charge:", "completed"],
        ["order-1001/approve:", "skipped"],
        ["order-1001/refund:", "skipped"],
        ["order-1001/ship:", "completed"],
        ["order-1001:", "Succeeded"],
    ]


def test_a_node_that_runs_is_watched_and_described(slow: Command) -> None:
    with worker(slow, "slow:app"):
        slow("start", "slow", "--run-id", "one")
        watching = slow.begin("watch", "one", "--nodes")
        try:
            assert watching.stdout is not None
            seen = next(line for line in watching.stdout if line.startswith("one/held: running 1/4"))
            rows = slow("describe", "one").out
            got = slow("get", "one")
            drawn = slow("diagram", "one").out
            (slow.folder / "go").touch()
            rest = watching.stdout.read().splitlines()
        finally:
            watching.kill()
            watching.communicate()

    assert seen
    assert rows.splitlines()[-1].split() == ["held", "running", "1/4", "(25", "%)"]
    assert got.error_line == "one: held is at 1/4"
    assert "class n1 running" in drawn
    assert "held<br/>1/4 (25 %)" in drawn
    assert rest[-1].startswith("one: Succeeded")


def test_a_blueprint_is_drawn_and_linted(shop: Command) -> None:
    drawn = shop("diagram", "order", "--app", "shop.flows:app")
    clean = shop("lint", "--app", "shop.flows:app")
    (shop.folder / "broken.json").write_text(
        '{"id": "x", "nodes": [{"id": "a", "uses": "charge"}], "edges": [{"source": "a", "target": "b"}]}'
    )
    broken = shop("lint", "broken.json", "--app", "shop.flows:app")
    as_data = shop("lint", "broken.json", "-o", "json")

    assert '"charge"' in drawn.out
    assert (clean.code, clean.out) == (0, "")
    assert broken.code == 1
    assert broken.out.startswith("broken.json:1:91: error: INVALID_EDGE_TARGET: ")
    assert as_data.data[0]["edge"] == ["a", "b"]
    assert (as_data.data[0]["line"], as_data.data[0]["column"]) == (1, 91)


def test_a_manifest_is_linted_by_the_blueprint_that_it_names(shop: Command) -> None:
    unknown = changed(shop, blueprint={"name": "ordre"})
    found = shop("lint", unknown, "run.yaml", "--app", "shop.flows:app")
    alone = shop("lint", "run.yaml")

    assert found.code == 1
    assert "error: UNKNOWN_BLUEPRINT: app shop has no blueprint 'ordre'; it has order" in found.out
    assert found.error_line == "1 blueprint(s) looked at, 1 error(s), 0 warning(s)"
    assert alone.code == 0
    assert "run.yaml: no blueprint to look at; one that is named needs --app" in alone.err


def test_a_decision_on_a_node_that_is_not_there_is_told(shop: Command) -> None:
    misspelt = changed(shop, decisions=[{"nodeKey": "aprove", "action": "approved"}])
    linted = shop("lint", misspelt, "--app", "shop.flows:app")
    started = shop("run", "-f", misspelt, "--app", "shop.flows:app")

    told = "blueprint order has no node 'aprove'; did you mean 'approve'?"
    assert linted.code == 1
    line = 1 + (shop.folder / misspelt).read_text().splitlines().index("  - action: approved")
    assert linted.out == f"changed.yaml:{line + 1}:14: order-1001: error: UNKNOWN_DECISION: {told}\n"
    assert started.code == 2
    assert started.error_line.endswith(f"order-1001: spec.decisions: {told}")


def test_deciding_on_a_node_that_is_not_there_is_told(waiting: Command) -> None:
    told = waiting("decide", "order-1003", "aprove", "--action", "approved")
    other = waiting("decide", "order-1003", "ship")

    assert (told.code, other.code) == (2, 2)
    assert told.error_line.endswith("blueprint order has no node 'aprove'; did you mean 'approve'?")
    assert other.error_line.endswith(
        "node ship of blueprint order does not wait for a decision; nodes that wait are approve"
    )


def test_mistakes_in_yaml_are_told_with_line_and_column(shop: Command) -> None:
    (shop.folder / "order.yaml").write_text(
        "id: order\n"
        "nodes:\n"
        "- {id: charge, uses: charge, config: {retries: 3}}\n"
        "- id: ship\n"
        "  uses: shipp\n"
        "edges:\n"
        "- source: charge\n"
        "  target: ship\n"
        "  condition: result.output.paid === 1\n"
        "  condition: result.output.paid = 1\n"
    )
    (shop.folder / "shape.yaml").write_text("id: a\nnodes:\n- {id: x, uses: y}\n- {id: z}\n")
    found = shop("lint", "order.yaml", "shape.yaml", "--app", "shop.flows:app").out.splitlines()

    assert [line.split(": ")[:3] for line in found] == [
        ["order.yaml:10:3", "warning", "REPEATED_KEY"],
        ["order.yaml:4:3", "error", "MISSING_NODE_IMPLEMENTATION"],
        ["order.yaml:10:33", "error", "INVALID_CONDITION"],
        ["order.yaml:3:48", "warning", "MISSPELT_FIELD"],
        ["shape.yaml:4:3", "error", "INVALID_BLUEPRINT"],
    ]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("maxRetries: 1000000000000000000000000000000", "maxRetries"),
        ("maxRetries: -1", "node ship: config: maxRetries must be a number of attempts, 0 or more, not -1"),
        ("maxRetries: 1.5", "node ship: config: maxRetries must be a whole number of attempts, not 1.5"),
        (
            "retryDelay: -5",
            "node ship: config: retryDelay must be a number of milliseconds, 0 or more, not -5",
        ),
        ("retryDelay: 1.0e+300", "config: retryDelay is 1e+300 milliseconds, and the most is 100 years"),
        ("timeout: 1.0e+20", "node ship: config: timeout is 1e+20 milliseconds, and the most is 100 years"),
        ("timeout: .inf", "timeout"),
    ],
)
def test_numbers_that_no_run_could_live_with_are_told_with_line_and_column(
    shop: Command, setting: str, told: str
) -> None:
    (shop.folder / "odd.yaml").write_text(
        f"id: odd\nnodes:\n- id: ship\n  uses: ship\n  config:\n    joinStrategy: any\n    {setting}\n"
    )
    ended = shop("lint", "odd.yaml")
    assert ended.code == 1
    (line,) = ended.out.splitlines()
    column = 5 + setting.index(" ") + 1
    assert line.startswith(f"odd.yaml:7:{column}: error: INVALID_BLUEPRINT: ")
    assert told in line


def test_a_file_that_is_not_there_is_told(shop: Command) -> None:
    ended = shop("get")

    assert ended.code == 2
    assert "there is no file" in ended.error_line


def test_poison_is_listed_shown_sent_back_and_dropped(waiting: Command) -> None:
    async def poison() -> None:
        async with open_embedded(waiting.db, "flowcraft") as backend:
            for body in ("nonsense", "more nonsense"):
                await backend.queue.send_poison(poison_body(body, "nobody can read it", 1))

    asyncio.run(poison())

    ids = list(waiting("poison", "list").rows)
    shown = waiting("poison", "show", ids[0])
    requeued = waiting("poison", "requeue", ids[0])
    dropped = waiting("poison", "drop", "--all")

    assert len(ids) == 2
    assert "reason:     nobody can read it" in shown.out
    assert (requeued.code, requeued.out) == (0, f"{ids[0]} sent back\n")
    assert (dropped.code, dropped.out) == (0, f"{ids[1]} dropped\n")
    assert waiting("poison", "list").error_line == "No poison messages of queue flowcraft."
    assert waiting("poison", "drop").code == waiting("poison", "show", "17").code == 2

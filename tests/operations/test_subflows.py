"""Subflows: runs of their own, whose ends, failures and times pass between parent and child."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.operations.place import Code, Place, flow

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.message import Message
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.engine.subflows import MAX_DEPTH, child_run_id
from flowcraft.engine.subflows import child_of as child_of_record

CHILD = flow("c1>c2", name="child")
ASKING = flow("ask>c2", name="asking", ask={"uses": "wait"})


def subflow(blueprint: str, config: Mapping[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    return {"uses": "subflow", "params": {"blueprintId": blueprint, **params}, "config": config or {}}


def parent_of(blueprint: str, **params: Any) -> Blueprint:
    return flow("a>sub sub>z", name="parent", sub=subflow(blueprint, **params))


async def child_of(place: Place, run_id: str) -> str:
    """The id of the run that the parent's node ``sub`` waits for."""
    header = await place.status(run_id, "awaiting")
    (entry,) = header["awaiting"]
    assert (entry["nodeKey"], entry["kind"]) == ("sub", "run")
    return entry["runId"]


async def told_by(place: Place, run_id: str) -> str:
    """The id of the run that the record of the parent's node ``sub`` tells of."""
    return child_of_record((await place.client.records(run_id))["sub"])


async def test_a_subflow_is_a_run_of_its_own_and_its_output_is_the_nodes(place: Place) -> None:
    code = Code()
    await place.worker(code, parent_of("child"), CHILD)

    run_id = await place.client.start_workflow("parent", {"amount": 42})

    assert (await place.ended(run_id))["output"] == {"z": "z!"}
    assert code.taken == ["a", "c1", "c2", "z"]
    assert (code.inputs["c1"], code.inputs["z"]) == ("a!", "c2!")
    child = await place.client.header(await told_by(place, run_id))
    assert (child["status"], child["output"]) == ("completed", {"c2": "c2!"})
    assert child["parent"]["runId"] == run_id
    assert child["queue"] == place.queue_name


async def test_inputs_and_outputs_are_mapped(place: Place) -> None:
    code = Code()
    child = flow("c1>c2 c1>c3", name="child", c1={"params": {"appends": {"inner": "deep"}}})
    mapped = {"inputs": {"x": "a", "y": "amount"}, "outputs": {"got": "c2", "key": "inner", "given": "y"}}
    parent = flow("a>sub sub>z", name="parent", sub=subflow("child", **mapped), z={"inputs": {
        "got": "got", "key": "key", "given": "given", "all": "sub"}})  # fmt: skip
    await place.worker(code, parent, child)

    await place.ended(await place.client.start_workflow("parent", {"amount": 42}))

    assert code.inputs["c1"] == {"x": "a!", "y": 42}
    assert code.inputs["z"] == {
        "got": "c2!", "key": ["deep"], "given": 42, "all": {"c2": "c2!", "c3": "c3!"}
    }  # fmt: skip


async def test_a_large_input_and_a_large_output_pass(place: Place) -> None:
    code = Code()
    large = "x" * 300_000
    child = flow("", name="child", c1={"params": {"output": large}})
    await place.worker(code, flow("sub>z", name="parent", sub=subflow("child")), child)

    await place.ended(await place.client.start_workflow("parent", {"text": large}))

    assert code.inputs["c1"] == {"text": large}
    assert code.inputs["z"] == large


@pytest.mark.parametrize("given", ["x" * 50_000, ["x" * 100] * 500], ids=["text", "list"])
async def test_a_large_input_of_a_child_need_not_be_an_object(place: Place, given: Any) -> None:
    code = Code()
    parent = flow("a>sub sub>z", name="parent", a={"params": {"output": given}}, sub=subflow("child"))
    await place.worker(code, parent, CHILD)

    await place.ended(await place.client.start_workflow("parent", {}))

    assert code.inputs["c1"] == given


async def test_a_failed_child_fails_its_node_which_names_run_and_error(place: Place) -> None:
    code = Code()
    code.broken = {"c2"}
    await place.worker(code, parent_of("child"), CHILD)

    run_id = await place.client.start_workflow("parent", {})

    ended = await place.ended(run_id)
    child_id = await told_by(place, run_id)
    assert ended["status"] == "failed"
    assert ended["errors"][0]["type"] == "SubflowFailed"
    assert (ended["message"] or "").startswith(
        f"node sub failed: run {child_id} of blueprint child failed: node c2 failed"
    )
    assert "z" not in code.taken


async def test_a_failed_child_is_tried_again_then_the_fallback_stands_in(place: Place) -> None:
    code = Code()
    code.broken = {"c2"}
    parent = flow(
        "sub>z", name="parent", sub=subflow("child", {"maxRetries": 2, "fallback": "spare"}), spare={}
    )
    await place.worker(code, parent, CHILD)

    ended = await place.ended(await place.client.start_workflow("parent", {"amount": 1}))

    assert ended["status"] == "completed"
    assert code.taken == ["c1", "c2", "c1", "c2", "sub", "z"]
    assert code.inputs["z"] == "sub!"
    records = await place.client.records(ended["runId"])
    assert (records["sub"].fallback, records["z"].fallback) == (True, False)


@pytest.mark.parametrize(
    ("params", "kind", "told"),
    [
        ({"blueprintId": "nobody"}, "BlueprintUnknown", "no blueprint nobody"),
        ({"blueprintId": "child", "blueprintVersion": "7"}, "BlueprintUnknown", "child version 7"),
        ({"blueprintId": "broken"}, "InvalidBlueprint", "MISSING_NODE_IMPLEMENTATION"),
    ],
)
async def test_a_subflow_that_cannot_be_started_fails_its_node(
    place: Place, params: dict[str, Any], kind: str, told: str
) -> None:
    broken = flow("", name="broken", c1={"uses": "nothing"})
    node = {"uses": "subflow", "params": params}
    await place.worker(Code(), flow("", name="parent", sub=node), CHILD, broken)

    ended = await place.ended(await place.client.start_workflow("parent", {}))

    assert ended["errors"][0]["type"] == kind
    assert told in (ended["message"] or "")


async def test_a_blueprint_that_starts_itself_comes_to_an_end(place: Place) -> None:
    await place.worker(Code(), flow("", name="parent", sub=subflow("parent")), concurrency=32)

    ended = await place.ended(await place.client.start_workflow("parent", {}, run_id="deep"))

    assert ended["errors"][0]["type"] == "SubflowFailed"
    assert f"{MAX_DEPTH} runs are above this one" in (ended["message"] or "")
    assert len(ended["message"] or "") < 500


async def test_a_decision_in_the_child_lets_the_parent_go_on(place: Place) -> None:
    code = Code()
    await place.worker(code, parent_of("asking"), ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)
    await place.status(child_id, "awaiting")

    with pytest.raises(RefusedError):
        await place.client.decide(run_id, "sub", output="not a person's")
    await place.client.decide(child_id, "ask", output="yes")

    assert (await place.ended(run_id))["status"] == "completed"
    assert code.inputs["c2"] == "yes"


async def test_what_waits_in_a_subflow_of_a_subflow_is_decided_from_the_run_at_the_top(place: Place) -> None:
    code = Code()
    middle = flow("", name="middle", sub=subflow("asking"))
    await place.worker(code, parent_of("middle"), middle, ASKING)
    run_id = await place.client.start_workflow("parent", {})

    for early in ("sub/sub/ask", "sub/nowhere/ask"):
        with pytest.raises(RefusedError) as refused:
            await place.client.decide(run_id, "sub/nowhere", output=early)
        assert refused.value.retryable
    grandchild_id = await child_of(place, await child_of(place, run_id))
    await place.status(grandchild_id, "awaiting")
    await place.client.decide(run_id, "sub/sub/ask", output="yes")
    await place.client.decide(run_id, "sub/sub/ask", output="yes")

    assert (await place.ended(run_id))["status"] == "completed"
    assert code.inputs["c2"] == "yes"


async def test_cancelling_the_parent_cancels_its_children_and_theirs(place: Place) -> None:
    middle = flow("", name="middle", sub=subflow("asking"))
    await place.worker(Code(), parent_of("middle"), middle, ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)
    grandchild_id = await child_of(place, child_id)

    await place.client.cancel(run_id)

    for each in (child_id, grandchild_id):
        header = await place.client.header(each)
        assert (header["status"], header["reason"]) == ("cancelled", "ParentEnded")
    assert (await place.client.header(run_id))["reason"] == "Cancelled"


async def test_cancelling_the_child_fails_the_parents_node(place: Place) -> None:
    await place.worker(Code(), parent_of("asking"), ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)

    await place.client.cancel(child_id)

    ended = await place.ended(run_id)
    assert ended["errors"][0]["type"] == "SubflowCancelled"
    assert ended["message"] == f"node sub failed: run {child_id} of blueprint asking was cancelled: Cancelled"


async def test_a_failure_beside_it_cancels_the_child(place: Place) -> None:
    code = Code()
    code.broken = {"b"}
    parent = flow("ask>b", name="parent", sub=subflow("asking"), ask={"uses": "wait"})
    await place.worker(code, parent, ASKING)
    run_id = await place.client.start_workflow("parent", {})

    async def waiting() -> Any:
        entries = (await place.client.header(run_id)).get("awaiting", [])
        return entries if {entry["nodeKey"] for entry in entries} == {"sub", "ask"} else None

    entries = await place.until(waiting)
    child_id = next(entry["runId"] for entry in entries if "runId" in entry)
    await place.client.decide(run_id, "ask")

    assert (await place.ended(run_id))["status"] == "failed"
    assert (await place.ended(child_id))["reason"] == "ParentEnded"


async def test_the_parents_deadline_is_its_childs(place: Place) -> None:
    await place.worker(Code(), parent_of("asking"), ASKING)
    run_id = await place.client.start_workflow("parent", {}, deadline_s=3600.0)
    child_id = await child_of(place, run_id)

    parent, child = await place.client.header(run_id), await place.client.header(child_id)

    assert child["deadlineAt"] == parent["deadlineAt"]


async def test_a_timeout_of_the_node_ends_the_child(place: Place) -> None:
    parent = flow("", name="parent", sub=subflow("asking", {"timeout": 50}))
    await place.worker(Code(), parent, ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = child_run_id(run_id, "sub")  # it may be over before anybody sees that it waits

    async def over() -> Any:
        await place.reconciler.run()
        return (await place.client.header(run_id))["status"] == "failed"

    await place.until(over)
    assert (await place.client.header(child_id))["reason"] == "DeadlineExceeded"


async def test_suspending_and_resuming_pass_to_the_children(place: Place) -> None:
    code = Code()
    await place.worker(code, parent_of("asking"), ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)
    await place.status(child_id, "awaiting")

    await place.client.suspend(run_id)
    assert (await place.client.header(child_id))["status"] == "paused"
    await place.client.decide(child_id, "ask")
    await place.client.resume(run_id)

    assert (await place.ended(run_id))["status"] == "completed"
    assert (await place.client.header(child_id))["status"] == "completed"


async def test_the_end_of_a_child_that_nobody_told_is_found(place: Place) -> None:
    code = Code()
    worker = await place.worker(code, parent_of("asking"), ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)
    await place.status(child_id, "awaiting")
    await worker.stop()
    stored = await place.ports.facts.read_header(child_id)
    assert stored is not None
    await place.ports.facts.replace_header(
        stored, {**stored.document, "status": "completed", "output": {"c2": "by hand"}}
    )
    await place.worker(code, parent_of("asking"), ASKING)

    stats = await place.reconciler.run()

    assert stats.reconciled_runs == 1
    assert (await place.ended(run_id))["status"] == "completed"
    assert code.inputs["z"] == "by hand"


async def test_a_message_of_an_ended_child_tells_its_parent_again(place: Place) -> None:
    code = Code()
    worker = await place.worker(code, parent_of("asking"), ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)
    await place.status(child_id, "awaiting")
    await worker.stop()
    stored = await place.ports.facts.read_header(child_id)
    assert stored is not None
    await place.ports.facts.replace_header(
        stored, {**stored.document, "status": "completed", "output": {"c2": "by hand"}}
    )

    await place.ports.queue.send(Message(child_id, "asking", "ask", alarm=True).to_body())
    await place.worker(code, parent_of("asking"), ASKING)

    assert (await place.ended(run_id))["status"] == "completed"


async def test_a_child_that_was_never_created_is_started(place: Place) -> None:
    code = Code()
    worker = await place.worker(code, parent_of("asking"), ASKING, CHILD)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)
    await place.status(child_id, "awaiting")
    await worker.stop()
    await place.ports.facts.purge(child_id)
    await place.ports.coordination.forget(child_id)
    await place.worker(code, parent_of("asking"), ASKING, CHILD)

    await place.reconciler.run()

    await place.until(lambda: place.ports.facts.read_header(child_id))
    await place.status(child_id, "awaiting")
    await place.client.decide(child_id, "ask")
    assert (await place.ended(run_id))["status"] == "completed"


async def test_a_child_whose_parent_is_gone_is_ended(place: Place) -> None:
    worker = await place.worker(Code(), parent_of("asking"), ASKING)
    run_id = await place.client.start_workflow("parent", {})
    child_id = await child_of(place, run_id)
    await place.status(child_id, "awaiting")
    await worker.stop()
    await place.ports.facts.purge(run_id)

    await place.reconciler.run()

    assert (await place.client.header(child_id))["reason"] == "ParentEnded"


async def test_deleting_the_parent_deletes_its_children(place: Place) -> None:
    await place.worker(Code(), parent_of("child"), CHILD)
    run_id = await place.client.start_workflow("parent", {}, ttl_after_finished_s=0.0)
    await place.ended(run_id)
    child_id = await told_by(place, run_id)
    assert "expiresAt" not in await place.client.header(child_id)

    async def gone() -> bool:
        await place.reconciler.run()
        return await place.ports.facts.read_header(run_id) is None

    await place.until(gone)
    assert await place.ports.facts.read_header(child_id) is None


async def test_a_run_of_somebody_elses_under_the_childs_id_is_left_alone(place: Place) -> None:
    code = Code()
    taken = child_run_id("mine", "sub")
    await place.client.start_workflow("child", {}, run_id=taken)
    await place.worker(code, parent_of("child"), CHILD)

    ended = await place.ended(await place.client.start_workflow("parent", {}, run_id="mine"))

    assert ended["errors"][0]["type"] == "RunIdTaken"
    assert (await place.ended(taken))["status"] == "completed"


async def test_many_children_at_once_each_end_once(place: Place) -> None:
    code = Code()
    nodes = [{"id": f"s{number}", **subflow("leaf")} for number in range(12)]
    parent = Blueprint.from_dict({"id": "parent", "nodes": nodes, "edges": []})
    for _ in range(2):
        await place.worker(code, parent, flow("", name="leaf", c1={}))

    ended = await place.ended(await place.client.start_workflow("parent", {}))

    assert ended["status"] == "completed"
    assert code.taken.count("c1") == 12


async def test_a_subflow_in_a_loop_is_a_new_run_in_each_round_and_loops_in_it_give_their_last(
    place: Place,
) -> None:
    code = Code()
    controller = {"uses": "loop-controller", "params": {"condition": "size(rounds) < 3"}}
    turning = {"params": {"appends": {"rounds": "once"}}}
    edges = [
        {"source": "b", "target": "sub"},
        {"source": "sub", "target": "ctl"},
        {"source": "ctl", "target": "b", "action": "continue"},
        {"source": "ctl", "target": "z", "action": "break"},
        {"source": "a", "target": "b"},
    ]
    sub = subflow("child", outputs={"got": "c1"})
    drawn: dict[str, dict[str, Any]] = {
        "a": {},
        "b": turning,
        "sub": sub,
        "ctl": controller,
        "z": {"inputs": {"got": "got"}},
    }
    nodes = [{"id": name, "uses": "step", **more} for name, more in drawn.items()]
    parent = Blueprint.from_dict({"id": "parent", "nodes": nodes, "edges": edges})
    within: dict[str, dict[str, Any]] = {"c0": {}, "c1": turning, "ctl": controller, "c2": {}}
    inner = [{"id": name, "uses": "step", **more} for name, more in within.items()]
    ways = [
        {"source": "c0", "target": "c1"},
        {"source": "c1", "target": "ctl"},
        {"source": "ctl", "target": "c1", "action": "continue"},
        {"source": "ctl", "target": "c2", "action": "break"},
    ]
    child = Blueprint.from_dict({"id": "child", "nodes": inner, "edges": ways})
    await place.worker(code, parent, child)

    ended = await place.ended(await place.client.start_workflow("parent", {"rounds": []}))

    assert ended["status"] == "completed", ended.get("message")
    assert code.inputs["z"] == {"got": "c1#3!"}
    assert [key for key in code.taken if key.startswith("c1")] == ["c1#1", "c1#2", "c1#3"] * 3

"""Subflows and webhooks in memory: runs within a run, and decisions for what waits in them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcraft import FlowRuntime, NodeContext
from flowcraft.blueprint import Blueprint
from flowcraft.engine.subflows import MAX_DEPTH
from flowcraft.errors import AppError
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import Decision, RunResult


class Code:
    """Notes what runs and what it gets."""

    def __init__(self) -> None:
        self.got: dict[str, list[Any]] = {}
        self.broken: dict[str, int] = {}
        self.holds = asyncio.Event()

    async def step(self, ctx: NodeContext) -> Any:
        calls = self.got.setdefault(ctx.node_id, [])
        calls.append(ctx.input)
        if "sets" in ctx.params:
            await ctx.context.set(ctx.params["sets"], ctx.node_id)
        if ctx.params.get("holds"):
            await self.holds.wait()
        if len(calls) <= self.broken.get(ctx.node_id, 0):
            raise ValueError(f"{ctx.node_id} is broken")
        return f"{ctx.node_id}!"


def blueprint(name: str, edges: str = "", **nodes: dict[str, Any]) -> Blueprint:
    pairs = [text.split(">") for text in edges.split()]
    ids = dict.fromkeys([*(node for pair in pairs for node in pair), *nodes])
    return Blueprint.from_dict(
        {
            "id": name,
            "nodes": [{"id": node, "uses": "step", **nodes.get(node, {})} for node in ids],
            "edges": [{"source": source, "target": target} for source, target in pairs],
        }
    )


def subflow(name: str, config: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    return {"uses": "subflow", "params": {"blueprintId": name, **params}, "config": config or {}}


async def run(code: Code, *blueprints: Blueprint, given: Any = None, **options: Any) -> RunResult:
    return await runtime(code, *blueprints).run(blueprints[0], given or {}, RunOptions(run_id="r", **options))


def runtime(code: Code, *blueprints: Blueprint) -> FlowRuntime:
    return FlowRuntime(blueprints=blueprints, registry={"step": code.step})


CHILD = blueprint("child", "c1>c2")
ASKING = blueprint("asking", "ask>c2", ask={"uses": "wait"})


async def test_a_subflow_gives_the_output_of_its_last_node() -> None:
    code = Code()
    result = await run(code, blueprint("parent", "a>sub sub>z", sub=subflow("child")), CHILD)

    assert (result.status, result.output) == ("completed", {"z": "z!"})
    assert code.got == {"a": [{}], "c1": ["a!"], "c2": ["c1!"], "z": ["c2!"]}
    assert result.subflows["sub"].run_id == (result.records["sub"].waits_for or {})["runId"]


async def test_inputs_and_outputs_are_mapped() -> None:
    code = Code()
    mapped = {"inputs": {"x": "a", "y": "amount"}, "outputs": {"got": "c2", "key": "k", "given": "y"}}
    child = blueprint("child", "c1>c2 c1>c3", c1={"params": {"sets": "k"}})
    names = {name: name for name in ("got", "key", "given", "sub")}
    parent = blueprint("parent", "a>sub sub>z", sub=subflow("child", **mapped), z={"inputs": names})

    await run(code, parent, child, given={"amount": 42})

    assert code.got["c1"] == [{"x": "a!", "y": 42}]
    assert code.got["z"] == [{"got": "c2!", "key": "c1", "given": 42, "sub": {"c2": "c2!", "c3": "c3!"}}]


async def test_a_failed_subflow_is_tried_again_and_then_fails_its_node_or_falls_back() -> None:
    parent = blueprint("parent", "sub>z", sub=subflow("child", {"maxRetries": 2}))
    code = Code()
    code.broken["c1"] = 1
    assert (await run(code, parent, CHILD)).output == {"z": "z!"}
    code = Code()
    code.broken["c1"] = 9
    failed = await run(code, parent, CHILD)
    assert (failed.status, len(code.got["c1"])) == ("failed", 2)
    assert failed.errors[0]["type"] == "SubflowFailed"
    assert "of blueprint child failed: node c1 failed: c1 is broken" in failed.errors[0]["message"]
    spare = blueprint("parent", "sub>z", sub=subflow("child", {"fallback": "spare"}), spare={})
    code = Code()
    code.broken["c1"] = 9
    assert (await run(code, spare, CHILD)).output == {"z": "z!"}
    assert code.got["z"] == ["spare!"]


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"blueprintId": "nobody"}, "BlueprintUnknown"),
        ({"blueprintId": "broken"}, "InvalidBlueprint"),
    ],
)
async def test_a_subflow_that_cannot_be_started_fails_its_node(params: dict[str, Any], kind: str) -> None:
    broken = blueprint("broken", c1={"uses": "nothing"})
    result = await run(Code(), blueprint("parent", sub={"uses": "subflow", "params": params}), broken)

    assert result.errors[0]["type"] == kind


async def test_a_blueprint_that_starts_itself_comes_to_an_end() -> None:
    result = await run(Code(), blueprint("parent", sub=subflow("parent")))

    assert result.status == "failed"
    assert f"{MAX_DEPTH} runs are above this one" in result.errors[0]["message"]


async def test_what_waits_in_a_subflow_makes_the_run_wait_and_is_decided_from_it() -> None:
    code = Code()
    middle = blueprint("middle", "sub>m", sub=subflow("asking"))
    flows = runtime(code, blueprint("parent", "top>z", top=subflow("middle")), middle, ASKING)

    first = await flows.run("parent")
    assert (first.status, first.awaiting) == ("awaiting", ("top/sub/ask",))
    with pytest.raises(AppError, match="does not wait; top/sub/ask does"):
        await flows.resume(first, {"ask": Decision()})
    last = await flows.resume(first, {"top/sub/ask": Decision(output="yes")})

    assert (last.status, last.output, last.awaiting) == ("completed", {"z": "z!"}, ())
    assert code.got["c2"] == ["yes"]
    with pytest.raises(AppError, match="does not wait; nothing does"):
        await flows.resume(last, {"top/sub/ask": Decision(output="yes")})


async def test_a_decision_for_the_subflows_node_is_for_the_only_one_that_waits_in_it() -> None:
    code = Code()
    two = blueprint("two", ask1={"uses": "wait"}, ask2={"uses": "webhook"})
    flows = runtime(code, blueprint("parent", "sub>z", sub=subflow("two")), two)

    first = await flows.run("parent")
    with pytest.raises(AppError, match="decide sub/ask1 or sub/ask2"):
        await flows.resume(first, {"sub": Decision()})
    second = await flows.resume(first, {"sub/ask2": Decision(output=2)})
    assert second.awaiting == ("sub/ask1",)
    last = await flows.resume(second, {"sub": Decision(output=1)})

    assert last.status == "completed"
    assert code.got["z"] == [{"ask1": 1, "ask2": 2}]


async def test_a_failure_beside_a_subflow_ends_it() -> None:
    code = Code()
    code.broken["b"] = 1
    child = blueprint("child", "c1>c2", c1={"params": {"holds": True}})
    result = await run(code, blueprint("parent", "a>b", sub=subflow("child"), a={}, b={}), child)

    assert result.status == "failed"
    assert "c2" not in code.got


async def test_a_subflow_that_takes_too_long_fails_its_node() -> None:
    child = blueprint("child", c1={"params": {"holds": True}})
    result = await run(Code(), blueprint("parent", sub=subflow("child", {"timeout": 10})), child)

    assert result.errors[0]["type"] == "SubflowFailed"
    assert "took longer than 0.01 s" in result.errors[0]["message"]


async def test_many_subflows_at_once() -> None:
    code = Code()
    nodes = [{"id": f"s{number}", **subflow("leaf")} for number in range(50)]
    parent = Blueprint.from_dict({"id": "parent", "nodes": nodes, "edges": []})
    result = await run(code, parent, blueprint("leaf", c1={}))

    assert result.status == "completed"
    assert len(code.got["c1"]) == 50

"""What nodes read from the context on several workers, and in a run that goes on from another one."""

from __future__ import annotations

from typing import Any

from tests.operations.place import Place, flow

from flowcraft import NodeContext, NodeResult
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.recall import recall
from flowcraft.serializer import JSON


class Readers:
    """Node code that writes, deletes and reads as its ``params`` say, and fails when a test wants it."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.inputs: dict[str, Any] = {}

    async def step(self, ctx: NodeContext) -> NodeResult:
        self.inputs[ctx.node_key] = ctx.input
        if ctx.node_key in self.broken:
            raise ValueError(f"{ctx.node_key} is broken")
        for name in ctx.params.get("deletes", ()):
            await ctx.context.delete(name)
        for name, value in ctx.params.get("sets", {}).items():
            await ctx.context.set(name, value)
        names = ctx.params.get("reads")
        if names is None:
            return NodeResult(ctx.input, dynamic_nodes=ctx.params.get("makes", ()))
        return NodeResult({name: await ctx.context.get(name, "nothing") for name in names})


def node(**params: Any) -> dict[str, Any]:
    return {"params": params}


async def test_outputs_and_deleted_fields_are_what_they_were_in_a_retry_too(place: Place) -> None:
    names = ["a", "_outputs.b", "d", "amount", "currency", "_outputs.nobody"]
    program = flow(
        "a>b a>c b>d c>d",
        a=node(sets={"currency": "EUR"}),
        b=node(deletes=["amount"]),
        c=node(reads=["a", "_outputs.c"]),
        d=node(reads=names),
    )
    code = Readers()
    code.broken = {"d"}
    await place.worker(code, program)
    await place.worker(code, program)
    run_id = await place.client.start_workflow("flow", {"amount": 42, "currency": "CHF"})
    assert (await place.ended(run_id))["status"] == "failed"
    code.broken = set()
    stored = await place.client.retry(run_id)

    again = await place.ended(stored.document["runId"])

    given = {"amount": 42, "currency": "CHF"}
    assert again["output"] == {
        "d": {
            "a": given, "_outputs.b": given, "d": "nothing", "amount": "nothing", "currency": "EUR",
            "_outputs.nobody": "nothing",
        },
    }  # fmt: skip


async def test_what_a_maker_wrote_and_its_made_nodes_gave_is_there_in_a_retry(place: Place) -> None:
    made = [{"id": "m", "uses": "step", "params": {"reads": ["amount"]}}]
    program = flow(
        "a>b b>d",
        a=node(sets={"before": 1}, makes=made),
        b=node(),
        d={"inputs": {"m": "m", "out": "_outputs.m", "before": "before"}},
    )
    code = Readers()
    code.broken = {"d"}
    await place.worker(code, program)
    run_id = await place.client.start_workflow("flow", {"amount": 42})
    assert (await place.ended(run_id))["status"] == "failed"
    code.broken = set()
    stored = await place.client.retry(run_id)

    again = await place.ended(stored.document["runId"])

    assert again["output"] == {"d": {"m": {"amount": 42}, "out": {"amount": 42}, "before": 1}}


async def test_a_subflow_gets_no_field_that_was_deleted_and_gives_none(place: Place) -> None:
    inside = flow("s", name="inside", s=node(deletes=["kept"], reads=["gone", "kept", "first"]))
    params = {
        "blueprintId": "inside",
        "inputs": {"gone": "amount", "kept": "currency", "first": "_outputs.a"},
        "outputs": {"back": "kept", "same": "first"},
    }
    program = flow(
        "a>b b>child child>d",
        a=node(),
        b=node(deletes=["amount"]),
        child={"uses": "subflow", "params": params},
        d=node(reads=["back", "same", "child"]),
    )
    code = Readers()
    await place.worker(code, program, inside)
    run_id = await place.client.start_workflow("flow", {"amount": 42, "currency": "CHF"})

    header = await place.ended(run_id)

    given = {"amount": 42, "currency": "CHF"}
    assert header["output"] == {
        "d": {"back": None, "same": given, "child": {"gone": None, "kept": "nothing", "first": given}}
    }


async def test_an_input_that_people_wrote_means_what_it_says(place: Place) -> None:
    given = {"$type": "mine", "deep": [{"$type": "decimal", "value": "x", "$$type": 1}], "amount": 42}
    program = flow(
        "a>b b>c",
        a=node(reads=["deep", "amount"]),
        b={"inputs": {"deep": "deep", "all": "a"}},
        c={"uses": "subflow", "params": {"blueprintId": "inside", "inputs": {"deep": "deep"}}},
    )
    code = Readers()
    await place.worker(code, program, flow("s", name="inside", s=node(reads=["deep"])))
    await place.client.start(RunRequest("plain", "flow", input=given))

    header = await place.ended("plain")

    assert header["input"] == given
    assert header["status"] == "completed", header
    assert code.inputs["a"] == given
    assert code.inputs["b"] == {"deep": given["deep"], "all": {"deep": given["deep"], "amount": 42}}
    assert JSON.decode(header["output"]) == {"c": {"deep": given["deep"]}}
    recalled = await recall(place.client, "plain")
    assert JSON.decode(recalled.input) == given

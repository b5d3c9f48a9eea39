"""What nodes read from the context on several workers, and in a run that goes on from another one."""

from __future__ import annotations

from typing import Any

from tests.operations.place import Place, flow

from flowcraft import NodeContext, NodeResult


class Readers:
    """Node code that writes, deletes and reads as its ``params`` say, and fails when a test wants it."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    async def step(self, ctx: NodeContext) -> NodeResult:
        if ctx.node_key in self.broken:
            raise ValueError(f"{ctx.node_key} is broken")
        for name in ctx.params.get("deletes", ()):
            await ctx.context.delete(name)
        for name, value in ctx.params.get("sets", {}).items():
            await ctx.context.set(name, value)
        names = ctx.params.get("reads")
        if names is None:
            return NodeResult(ctx.input)
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

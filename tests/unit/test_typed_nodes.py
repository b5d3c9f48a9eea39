"""Nodes that say by annotations what they take and give, and get what the app has for them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from pydantic import BaseModel, Field

from flowcraft import App, AppError, BaseNode, FlowRuntime, NodeContext, NodeResult

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTheChecker

AT = "2026-01-02T03:04:05Z"


class Order(BaseModel):
    id: str
    amount: float = Field(ge=0)


class Receipt(BaseModel):
    order: str
    paid: float
    paid_at: datetime = Field(alias="paidAt")


@dataclasses.dataclass(frozen=True)
class Parcel:
    order: str
    weight_kg: float


class Bank:
    def __init__(self, name: str = "bank") -> None:
        self.name = name
        self.charged: list[float] = []


class Mailer(Protocol):
    def send(self, text: str) -> None: ...


async def outcome_of(app: App, value: Any, *nodes: str) -> Any:
    flow = app.flow(f"flow-{'-'.join(nodes)}")
    for node in nodes:
        flow.node(node)
    for before, after in itertools.pairwise(nodes):
        flow.edge(before, after)
    runtime = FlowRuntime(
        blueprints=[flow.to_blueprint()], registry=app.registry, dependencies=app.dependencies
    )
    return await runtime.run(flow.id, value)


async def test_models_go_in_and_come_out_across_an_edge() -> None:
    app = App("shop")

    @app.node("charge")
    async def charge(input: Order, ctx: NodeContext) -> Receipt:  # noqa: A002
        assert ctx.input is input
        return Receipt(order=input.id, paid=input.amount, paidAt=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    @app.node("ship")
    def ship(ctx: NodeContext[Receipt]) -> Parcel:
        assert ctx.input.paid_at.tzinfo is not None
        return Parcel(ctx.input.order, 2.5)

    @app.node("tell")
    async def tell(parcel: Parcel) -> str:
        return f"{parcel.order}: {parcel.weight_kg} kg"

    result = await outcome_of(app, {"id": "o-1", "amount": "4.5"}, "charge", "ship", "tell")
    assert result.status == "completed", result
    assert result.records["charge"].output == {"order": "o-1", "paid": 4.5, "paidAt": AT}
    assert result.records["ship"].output == {"order": "o-1", "weight_kg": 2.5}
    assert result.output == {"tell": "o-1: 2.5 kg"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"id": "o-1"}, "input.amount: Field required"),
        ({"id": "o-1", "amount": -1}, "input.amount: Input should be greater than or equal to 0"),
        ([1], "input: Input should be a valid dictionary or instance of Order"),
    ],
)
async def test_a_wrong_input_fails_the_node_without_retries_and_names_the_field(
    value: Any, told: str
) -> None:
    app = App("shop")
    calls: list[Any] = []

    @app.node("charge", retries=5)
    async def charge(input: Order, ctx: NodeContext) -> None:  # noqa: A002
        calls.append(input)

    result = await outcome_of(app, value, "charge")
    assert result.status == "failed"
    error = result.records["charge"].error
    assert error["type"] == "InputError"
    assert error["message"] == f"the input of node charge is wrong: {told}"
    assert calls == []
    assert result.records["charge"].attempt == 1


async def test_a_wrong_output_fails_the_node_and_names_the_field() -> None:
    app = App("shop")

    @app.node("charge")
    async def charge(ctx: NodeContext) -> Receipt:
        return {"order": "o-1", "paid": "much", "paidAt": AT}  # type: ignore[return-value]

    result = await outcome_of(app, {}, "charge")
    assert result.records["charge"].error["type"] == "OutputError"
    assert "the output of node charge is wrong: output.paid: " in result.records["charge"].error["message"]


async def test_a_result_with_an_action_carries_a_model_too() -> None:
    app = App("shop")

    @app.node("pack")
    async def pack(ctx: NodeContext) -> Parcel | NodeResult:
        return NodeResult(Parcel("o-1", 1), action="light")

    @app.node("plain")
    async def plain(ctx: NodeContext) -> dict[str, Any]:
        return {"any": ctx.input}

    result = await outcome_of(app, {}, "pack", "plain")
    assert result.records["pack"].output == {"order": "o-1", "weight_kg": 1.0}
    assert result.records["pack"].action == "light"


async def test_a_class_says_its_input_in_prep_and_its_output_in_exec() -> None:
    app = App("shop")

    @app.node("weigh")
    class Weigh(BaseNode):
        async def prep(self, ctx: NodeContext[Order]) -> Order:
            return ctx.input

        async def exec(self, prepared: Order, ctx: NodeContext) -> Parcel:
            return Parcel(prepared.id, prepared.amount)

    good = await outcome_of(app, {"id": "o-1", "amount": 3}, "weigh")
    assert good.output == {"weigh": {"order": "o-1", "weight_kg": 3.0}}


async def test_a_class_refuses_a_wrong_input() -> None:
    app = App("shop")

    @app.node("weigh")
    class Weigh(BaseNode):
        async def exec(self, prepared: Any, ctx: NodeContext[Order]) -> Any:
            return prepared

    wrong = await outcome_of(app, {"id": 7, "amount": 3}, "weigh")
    assert "input.id: " in wrong.records["weigh"].error["message"]


async def test_dependencies_are_found_by_type_and_by_name() -> None:
    app = App("shop", dependencies={"currency": "EUR"})
    made: list[str] = []

    @app.dependency
    def settings() -> dict[str, str]:
        made.append("settings")
        return {"bank": "first"}

    @app.dependency
    async def bank(settings: dict[str, str]) -> Bank:
        made.append("bank")
        await asyncio.sleep(0)
        return Bank(settings["bank"])

    @app.node("charge")
    async def charge(order: Order, ctx: NodeContext, house: Bank, currency: str, tries: int = 3) -> str:
        house.charged.append(order.amount)
        return f"{order.amount} {currency} at {house.name} {len(house.charged)} {tries}"

    @app.node("again")
    def again(ctx: NodeContext, *, bank: Bank) -> int:
        return len(bank.charged)

    assert app.options.name == "shop"
    result = await outcome_of(app, {"id": "o-1", "amount": 3}, "charge", "again")
    assert result.records["charge"].output == "3.0 EUR at first 1 3"
    assert result.output == {"again": 1}
    assert made == ["settings", "bank"]


async def test_a_dependency_asked_for_by_many_at_once_is_made_once() -> None:
    app = App("shop")
    made: list[Bank] = []

    @app.dependency
    async def bank() -> Bank:
        made.append(Bank())
        await asyncio.sleep(0)
        return made[-1]

    @app.node("charge")
    async def charge(ctx: NodeContext, bank: Bank) -> str:
        await asyncio.sleep(0)
        return bank.name

    flow = app.flow("wide")
    for place in range(5):
        flow.node(f"n{place}", uses="charge")
    runtime = FlowRuntime(
        blueprints=[flow.to_blueprint()], registry=app.registry, dependencies=app.dependencies
    )
    assert (await runtime.run("wide", {})).status == "completed"
    assert len(made) == 1


def test_a_dependency_that_nothing_gives_is_told_before_anything_runs() -> None:
    app = App("shop")

    @app.node("charge")
    async def charge(ctx: NodeContext, bank: Bank) -> None: ...

    with pytest.raises(AppError, match=r"node 'charge' asks for `bank: Bank`, and there is no such"):
        _ = app.options


def test_two_dependencies_of_one_type_need_a_name() -> None:
    app = App("shop", dependencies={"first": Bank(), "second": Bank()})

    @app.node("charge")
    async def charge(ctx: NodeContext, house: Bank) -> None: ...

    with pytest.raises(AppError, match="parameter house: Bank: first, second are all of this type"):
        _ = app.options


async def test_what_is_of_a_protocol_is_found_by_its_name() -> None:
    app = App("shop")
    sent: list[str] = []

    class Printer:
        def send(self, text: str) -> None:
            sent.append(text)

    app.dependencies["mailer"] = Printer()

    @app.node("tell")
    def tell(ctx: NodeContext, mailer: Mailer) -> None:
        mailer.send(ctx.run_id)

    await outcome_of(app, {}, "tell")
    assert len(sent) == 1


@pytest.mark.parametrize("asks_itself", [True, False])
async def test_a_factory_that_fails_fails_the_node_and_says_which(asks_itself: bool) -> None:
    app = App("shop")

    @app.node("charge")
    async def charge(ctx: NodeContext, bank: Bank) -> None: ...

    def broken() -> Bank:
        raise OSError("no route to bank")

    def circular(bank: Bank) -> Bank:
        return bank

    app.dependencies.add_factory(circular if asks_itself else broken, "bank")
    error = (await outcome_of(app, {}, "charge")).records["charge"].error
    assert error["type"] == "DependencyError"
    expected = "needs itself: bank -> bank" if asks_itself else "dependency 'bank': OSError: no route to bank"
    assert expected in error["message"]


def test_a_type_that_exists_for_the_checker_alone_is_refused() -> None:
    app = App("shop")
    with pytest.raises(AppError, match="its input is written `OnlyForTheChecker`, and name"):

        @app.node("charge")
        async def charge(input: OnlyForTheChecker, ctx: NodeContext) -> None: ...  # noqa: A002


def two_nameless(first, second):  # type: ignore[no-untyped-def]
    return first, second


@pytest.mark.parametrize("code", [two_nameless, lambda: None])
def test_a_function_that_says_nothing_takes_the_context_alone(code: Callable[..., Any]) -> None:
    with pytest.raises(AppError, match="its function must take one argument, the node context, or say"):
        App("shop").node("n")(code)


def test_parameters_are_given_by_name() -> None:
    async def charge(order: Order, /, ctx: NodeContext) -> None: ...

    with pytest.raises(AppError, match="parameter order is given by name; remove the `/` behind it"):
        App("shop").node("n")(charge)


@pytest.mark.parametrize("way", ["set", "delete"])
@pytest.mark.parametrize("blocking", [True, False])
async def test_a_write_that_nobody_awaited_fails_the_node(way: str, blocking: bool) -> None:
    app = App("shop")

    def write(ctx: NodeContext) -> str:
        _ = ctx.context.set("total", 1) if way == "set" else ctx.context.delete("total")
        return "done"

    async def write_async(ctx: NodeContext) -> str:
        return write(ctx)

    app.node("write")(write if blocking else write_async)
    result = await outcome_of(app, {}, "write")
    assert result.status == "failed"
    assert f"ctx.context.{way}('total'" in result.records["write"].error["message"]
    assert "was not awaited" in result.records["write"].error["message"]


async def test_a_failing_node_is_told_by_its_own_error() -> None:
    app = App("shop")

    @app.node("write")
    def write(ctx: NodeContext) -> None:
        _ = ctx.context.set("total", 1)
        raise ValueError("before it could be awaited")

    result = await outcome_of(app, {}, "write")
    assert result.records["write"].error["message"] == "before it could be awaited"


async def test_awaited_later_is_awaited() -> None:
    app = App("shop")

    @app.node("write")
    async def write(ctx: NodeContext) -> None:
        await asyncio.gather(ctx.context.set("a", 1), ctx.context.set("b", 2))
        with contextlib.suppress(ValueError):
            await ctx.context.set("", 3)

    result = await outcome_of(app, {}, "write")
    assert result.context == {"a": 1, "b": 2}

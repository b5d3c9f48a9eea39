"""What nodes give and write comes back equal, plain JSON stays as it is, a refusal says where."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from http import HTTPStatus
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel

from flowcraft import App, FlowRuntime, NodeContext
from flowcraft.errors import InputError
from flowcraft.json_values import MAX_DEPTH, NotJsonError
from flowcraft.serializer import JSON, JsonSerializer


class Status(StrEnum):
    PAID = "paid"


class Size(IntEnum):
    LARGE = 3


class Moment(Enum):
    NOON = time(12)


@dataclass
class Item:
    sku: str
    price: Decimal
    total: Decimal = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.price * 2


@dataclass(frozen=True, slots=True)
class Pair:
    left: Any
    right: Any


class Order(BaseModel):
    number: uuid.UUID
    items: list[Item]
    placed_at: datetime = Field(alias="placedAt")
    extra: Any = None


class Tags(RootModel[list[str]]):
    pass


WHEN = datetime(2026, 1, 31, 8, 0, 0, 123456, tzinfo=UTC)
ORDER = Order(
    number=uuid.UUID(int=7), items=[Item("a", Decimal("1.10"))], placedAt=WHEN, extra={"x": b"\x00"}
)


@pytest.mark.parametrize(
    "value",
    [
        WHEN,
        WHEN.replace(tzinfo=None),
        WHEN.astimezone(timezone(timedelta(hours=5, minutes=30))),
        date(2026, 1, 31),
        time(8, 30),
        timedelta(days=-3, microseconds=5),
        Decimal("12345678901234567890.123"),
        uuid.UUID(int=1),
        b"\x00\xff",
        {1, 2, "three"},
        frozenset({date(2026, 1, 1)}),
        Status.PAID,
        Size.LARGE,
        Moment.NOON,
        HTTPStatus.OK,
        Item("a", Decimal("1.10")),
        Pair(Pair(1, {2}), [Status.PAID]),
        ORDER,
        Tags(["a"]),
        {"deep": [{"when": WHEN}, {"$type": "mine", "n": 1}]},
        {"$type": "datetime", "value": "no"},
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_come_back_equal_and_are_json_between(value: Any) -> None:
    stored = JSON.encode(value)
    back = JSON.decode(orjson.loads(orjson.dumps(stored)))
    assert back == value
    assert type(back) is type(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("$type"), inner),
    max_leaves=20,
)


@given(plain)
def test_any_json_comes_back_equal(value: Any) -> None:
    if any(isinstance(item, float) and item in (float("inf"), -float("inf")) for item in leaves(value)):
        return
    assert JSON.decode(JSON.encode(value)) == value


@given(plain)
def test_json_without_a_tag_of_its_own_is_stored_as_it_is(value: Any) -> None:
    if "$type" in repr(value) or "inf" in repr(value):
        return
    assert JSON.encode(value) == value


def leaves(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    return [value]


def test_fields_of_models_and_dataclasses_stand_where_conditions_read_them() -> None:
    stored = JSON.encode({"order": ORDER})
    assert stored["order"]["items"][0]["sku"] == "a"
    assert stored["order"]["placed_at"]["value"] == WHEN.isoformat()


def test_what_is_decoded_shares_nothing_with_what_is_stored() -> None:
    stored = JSON.encode({"a": [1]})
    JSON.decode(stored)["a"].append(2)
    assert stored == {"a": [1]}


class Odd:
    pass


def nested(depth: int) -> Any:
    value: Any = {1}
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": [1, {"b": Odd()}]}, "`.a[1].b` is a Odd, which cannot be kept"),
        (Pair(1, {"x": Odd()}), "`.right.x` is a Odd"),
        ({"a": {1: 2}}, "`.a` has the key 1, not a string; use '1'"),
        ({"a": {3: {4}}}, "`.a` has the key 3"),
        ({"when": {2**60}}, "is an integer above 53 bits"),
        (Decimal, "the value is a type"),
        (nested(MAX_DEPTH + 1), "nests deeper than 100"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(value: Any, told: str) -> None:
    with pytest.raises(NotJsonError) as caught:
        JSON.encode(value)
    assert told in str(caught.value)


def test_a_class_that_cannot_be_found_again_is_refused_where_it_is_given() -> None:
    @dataclass
    class Local:
        x: int

    with pytest.raises(NotJsonError, match=r"`\.a` is a .*Local, which cannot be found by its name"):
        JSON.encode({"a": Local(1)})


@pytest.mark.parametrize(
    "stored",
    [
        {"$type": "os:system", "command": "true"},
        {"$type": "subprocess:Popen", "args": ["true"]},
        {"$type": "antigravity:Fly"},
        {"$type": "flowcraft.events:WorkflowStarted", "execution_id": "x"},
        {"$type": "flowcraft.blueprint:Blueprint", "id": "x"},
        {"$type": "urllib.parse:SplitResult"},
        {"$type": "pstats:FunctionProfile"},
        {"$type": "enum", "class": "builtins:eval", "value": "1"},
        {"$type": "decimal", "value": "x"},
        {"$type": "bytes"},
        {"$type": f"{__name__}:Order", "items": 5},
    ],
    ids=lambda stored: stored["$type"],
)
def test_reading_calls_nothing_but_constructors_of_values(stored: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        JSON.decode(stored)


def test_a_serializer_with_named_types_keeps_and_reads_only_those() -> None:
    narrow = JsonSerializer(types=[Pair])
    assert narrow.decode(narrow.encode(Pair(1, 2))) == Pair(1, 2)
    with pytest.raises(NotJsonError, match="is not one of the serializer's types"):
        narrow.encode(Item("a", Decimal(1)))
    with pytest.raises(InputError, match="does not know"):
        narrow.decode(JSON.encode(Item("a", Decimal(1))))


async def test_inputs_outputs_and_context_keep_their_values_in_a_run() -> None:
    seen: list[Any] = []

    async def first(ctx: NodeContext) -> Any:
        seen.append(ctx.input)
        await ctx.context.set("status", Status.PAID)
        await ctx.context.set("due", {"on": date(2026, 2, 1)})
        return ORDER

    async def second(ctx: NodeContext) -> Any:
        seen.extend([ctx.input, await ctx.context.get("status"), await ctx.context.get("due")])
        return {ctx.input.number}

    app = App("values")
    app.node("first")(first)
    app.node("second")(second)
    flow = app.flow("values").node("first").node("second")
    flow.edge("first", "second", condition="result.output.items[0].price.value == '1.10'")
    result = await FlowRuntime(registry=app.registry).run(flow.to_blueprint(), {"at": WHEN})
    assert result.status == "completed", result.errors
    assert seen == [{"at": WHEN}, ORDER, Status.PAID, {"on": date(2026, 2, 1)}]
    assert result.output is not None
    assert JSON.decode(result.output["second"]) == {ORDER.number}


async def test_an_input_with_a_tag_of_its_own_stays_what_it_is() -> None:
    app = App("values")
    given = {"$type": "gone.module:Order", "x": 1}

    @app.node("a")
    async def a(ctx: NodeContext) -> bool:
        return bool(ctx.input == given)

    result = await FlowRuntime(registry=app.registry).run(app.flow("f").node("a").to_blueprint(), given)
    assert result.output == {"a": True}


def test_a_key_like_the_tag_leaves_the_fields_beside_it_readable() -> None:
    given = {"$type": "mine", "$$type": 2, "amount": 42, "at": WHEN}
    encoded = JSON.encode(given)
    assert encoded["amount"] == 42
    assert JSON.decode(encoded) == given
    earlier = {"$type": "dict", "value": [["$type", "mine"], ["amount", 42]]}
    assert JSON.decode(earlier) == {"$type": "mine", "amount": 42}

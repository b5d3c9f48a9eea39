"""What may be stored is JSON that every backend keeps as it is; anything else is refused with its place."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from pydantic import BaseModel
from tests.unit.strategies import json_values

from flowcraft.json_values import (
    MAX_INTEGER,
    NotJsonError,
    check_json,
    detached,
    encode_json,
    path_to,
    plain_json,
)


class Model(BaseModel):
    """Something that is not JSON but can become it."""

    a: int = 1


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@given(json_values(20))
def test_json_comes_back_equal_and_independent(value: Any) -> None:
    again = plain_json(value)
    assert again == value
    check_json(value)
    if isinstance(value, list | dict):
        assert again is not value
        assert detached(value) is not value


def test_tuples_become_lists_and_null_is_a_value() -> None:
    assert plain_json({"a": (1, (2,)), "n": None}) == {"a": [1, [2]], "n": None}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"rows": [{"price": math.nan}]}, "`.rows[0].price` is nan, which JSON cannot say"),
        ([1, math.inf], "`[1]` is inf"),
        (-math.inf, "the value is -inf"),
        ({"a": {1, 2}}, "`.a` is a set, not JSON (None, bool, int, float, str, list, dict); use sorted(…)"),
        ({"a": dt.datetime(2026, 1, 31, tzinfo=dt.UTC)}, "`.a` is a datetime, not JSON"),
        ({"day": dt.date(2026, 1, 31)}, "use .isoformat()"),
        ([Model()], "`[0]` is a Model, not JSON (None, bool, int, float, str, list, dict); use .model_dump"),
        ({"a": b"x"}, "`.a` is a bytes, not JSON (None, bool, int, float, str, list, dict); use base64"),
        ({"a": Decimal(1)}, "`.a` is a Decimal"),
        ({"a": {7: 1}}, "`.a` has the key 7, not a string; use '7'"),
        ({"id": MAX_INTEGER + 1}, "`.id` is an integer above 53 bits"),
        ("\ud800", "half of a surrogate pair"),
        ({"\udfff": 1}, "half of a surrogate pair"),
        (nested(101), "nests deeper than 100"),
        (endless(), "or does it contain itself?"),
        (object(), "the value is a object, not JSON"),
    ],
)
def test_what_is_not_json_is_told_with_its_place(value: Any, told: str) -> None:
    for read in (encode_json, plain_json, check_json):
        with pytest.raises(NotJsonError) as refused:
            read(value)
        assert told in str(refused.value)


def test_a_whole_number_is_an_integer_as_from_a_store_of_doubles() -> None:
    plain = plain_json(
        {"price": 3.0, "list": [2.0, 2.5, (-1.0,)], "text": "3.0", "large": 1.5e300, "zero": -0.0}
    )
    assert orjson.dumps(plain) == b'{"price":3,"list":[2,2.5,[-1]],"text":"3.0","large":1.5e+300,"zero":0}'
    assert isinstance(plain_json(3.0), int)


def test_the_deepest_json_allowed_passes() -> None:
    assert plain_json(nested(100)) == nested(100)
    assert plain_json([[1]] * 1000) == [[1]] * 1000


def test_what_is_not_json_is_detached_too() -> None:
    value = {"a": {1, 2}}
    copy = detached(value)
    assert copy == value
    assert copy["a"] is not value["a"]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, {"b.c": math.inf}]}, ("a", 1, "b.c")),
        ({"a": {"b": {"c": 1}}, "a.b": {"c": 2**60}}, ("a.b", "c")),
        ({"a": [{"b": {1: 2}}]}, ("a", 0, "b")),
        (math.nan, ()),
    ],
)
def test_the_place_of_what_is_no_json_can_be_gone_to(value: Any, path: tuple[Any, ...]) -> None:
    with pytest.raises(NotJsonError) as refused:
        check_json(value)
    assert path_to(refused.value.place, value) == path

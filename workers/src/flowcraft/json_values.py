"""JSON as every backend keeps it: what may be stored, and where a value goes wrong.

orjson writes NaN as null and integers above 53 bits would lose digits in Cosmos DB, whose numbers are
IEEE 754 doubles; both are refused here, so that no backend changes a value silently.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 100
"""Objects and lists within each other; services refuse at 128 (Cosmos DB)."""
MAX_INTEGER: Final = 2**53 - 1

_OPTIONS: Final = (
    orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)
_SCALARS: Final = frozenset({type(None), bool, str})


class NotJsonError(ValueError):
    """A value that JSON cannot say; the message starts with its place, as in ``.items[3].price``.

    Attributes:
        place: That place, where it is known; empty for the whole.
    """

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


def plain_json(value: Any) -> Any:
    """The value as a reader of the stored JSON would get it: independent of the caller's objects.

    Whole numbers become integers, because a store of doubles gives 3 where 3.0 was written: an expression
    that tells them apart must not find one here and the other there.

    Raises:
        NotJsonError: it is not JSON, or nests deeper than ``MAX_DEPTH``.
    """
    if value is None or value is True or value is False:
        return value
    encoded = encode_json(value)
    plain = orjson.loads(encoded)
    return with_integers(plain) if b".0" in encoded else plain


def with_integers(value: Any) -> Any:
    """JSON with whole numbers as integers, up to those that a double can tell apart."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= MAX_INTEGER else value
    if isinstance(value, Mapping):
        return {key: with_integers(item) for key, item in value.items()}
    return [with_integers(item) for item in value] if isinstance(value, list | tuple) else value


def encode_json(value: Any) -> bytes:
    """The value as compact UTF-8 JSON.

    Raises:
        NotJsonError: it is not JSON, or nests deeper than ``MAX_DEPTH``.
    """
    try:
        encoded = orjson.dumps(value, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError) as error:
        check_json(value)
        raise NotJsonError(f"the value is not JSON: {error}") from None
    if b"null" in encoded or encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH:
        check_json(value)  # a null may be a NaN, and many brackets may be deep ones
    return encoded


def detached(value: Any) -> Any:
    """A value that shares nothing that can be changed with this one; scalars as they are."""
    if not isinstance(value, dict | list):
        return value
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError:
        return copy.deepcopy(value)


def check_json(value: Any, max_values: int | None = None) -> None:
    """Look at every value of a tree.

    Args:
        value: What should be JSON.
        max_values: Refuse more values than this (a YAML document may repeat itself by reference).

    Raises:
        NotJsonError: something in it is not JSON; the message names its place.
    """
    stack: list[tuple[Any, str, int]] = [(value, "", 0)]
    seen = 0
    while stack:
        item, place, depth = stack.pop()
        seen += 1
        if max_values is not None and seen > max_values:
            raise NotJsonError(f"it has more than {max_values} values")
        if depth > MAX_DEPTH:
            raise NotJsonError(
                f"{_shown(place)} nests deeper than {MAX_DEPTH}; flatten it (or does it contain itself?)",
                place,
            )
        if isinstance(item, Mapping):
            for key, child in item.items():
                if not isinstance(key, str):
                    raise NotJsonError(
                        f"{_shown(place)} has the key {key!r}, not a string; use {str(key)!r}", place
                    )
                _check_text(key, place)
                stack.append((child, f"{place}.{key}", depth + 1))
        elif isinstance(item, list | tuple):
            stack.extend((child, f"{place}[{index}]", depth + 1) for index, child in enumerate(item))
        else:
            _check_scalar(item, place)


def _check_scalar(item: Any, place: str) -> None:
    if isinstance(item, str):
        _check_text(item, place)
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise NotJsonError(
                f"{_shown(place)} is {item}, which JSON cannot say; use None or a string", place
            )
    elif isinstance(item, int) and not isinstance(item, bool):
        if abs(item) > MAX_INTEGER:
            raise NotJsonError(
                f"{_shown(place)} is an integer above 53 bits, which would lose digits; use a string", place
            )
    elif type(item) not in _SCALARS:
        try:
            orjson.dumps(item, option=_OPTIONS)
        except (TypeError, ValueError):
            raise NotJsonError(
                f"{_shown(place)} is a {type(item).__name__}, not JSON "
                f"(None, bool, int, float, str, list, dict){_advice(item)}",
                place,
            ) from None


def path_to(place: str, value: Any) -> tuple[str | int, ...]:
    """The keys and positions that lead to a place in this value, as far as they are in it."""
    path: list[str | int] = []
    while place:
        if isinstance(value, Mapping):
            keys = [key for key in value if isinstance(key, str) and _begins(place, f".{key}")]
            if not keys:
                break
            key = max(keys, key=len)
            path.append(key)
            value, place = value[key], place[len(key) + 1 :]
        elif isinstance(value, list | tuple) and place.startswith("["):
            position, _, place = place[1:].partition("]")
            path.append(int(position))
            value = value[int(position)]
        else:
            break
    return tuple(path)


def _begins(place: str, step: str) -> bool:
    return place.startswith(step) and place[len(step) : len(step) + 1] in ("", ".", "[")


def is_unicode(text: str) -> bool:
    """Whether the text can be stored: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_text(text: str, place: str) -> None:
    if not is_unicode(text):
        raise NotJsonError(
            f"{_shown(place)} has text with half of a surrogate pair, which is not Unicode", place
        ) from None


def _advice(item: Any) -> str:
    if hasattr(item, "isoformat"):
        return "; use .isoformat()"
    if hasattr(item, "model_dump"):
        return "; use .model_dump(mode='json')"
    if isinstance(item, set | frozenset):
        return "; use sorted(…) or list(…)"
    if isinstance(item, bytes | bytearray):
        return "; use base64 text"
    return ""


def _shown(place: str) -> str:
    return f"`{place}`" if place else "the value"

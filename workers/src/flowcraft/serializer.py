"""Values as JSON and back: what nodes give, get and write may be more than JSON can say.

Plain JSON stays as it is. Everything else is an object with a ``$type``: of a scalar, its text stands in
``value``; of a dataclass or pydantic model, its fields stand beside it, so that conditions and transforms
read ``result.output.amount`` whatever the output is in Python. A key ``$type`` of somebody's own has one more
``$`` between.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import marshal
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Protocol
from uuid import UUID

import orjson
from pydantic import BaseModel, RootModel

from flowcraft.errors import InputError
from flowcraft.json_values import MAX_DEPTH, NotJsonError, plain_json

TAG: Final = "$type"
_MARK: Final = TAG.encode()
_TAG_LIKE: Final = re.compile(r"\$+type")
_OWN: Final = frozenset({"flowcraft", "flowcraft_api", "flowcraft_azure", "flowcraft_cli"})
_PLAIN: Final = frozenset({type(None), bool, int, float, str})


class Serializer(Protocol):
    """How values become JSON and back. Both directions give values that share nothing with the one given."""

    def encode(self, value: Any) -> Any:
        """The value as JSON (None, bool, int, float, str, list, dict).

        Raises:
            NotJsonError: it cannot be kept; the message starts with its place, as in ``.items[3].price``.
        """
        ...

    def decode(self, value: Any) -> Any:
        """What was encoded.

        Raises:
            InputError: it needs a type that this process does not know.
        """
        ...


class JsonSerializer:
    """The default: tagged JSON for the types that programs hand around most.

    datetime, date, time, timedelta, Decimal, UUID, bytes, set, frozenset, Enum, dataclasses and pydantic
    models come back equal. A tuple comes back as a list. A class is found by module and name, in modules that
    the process has loaded anyway: reading a value imports nothing, and calls nothing but the constructor of
    a dataclass or enum and the validation of a model. Dataclasses of the standard library and of this package
    are neither kept nor read.
    """

    def __init__(self, types: Iterable[type] | None = None) -> None:
        """Args: the dataclasses, models and enums that may be read; by default all that are loaded."""
        self._types = None if types is None else {_class_name(kind): kind for kind in types}

    def encode(self, value: Any) -> Any:
        """The value as JSON; see ``Serializer.encode``."""
        if value is None or value is True or value is False:
            return value
        try:
            # Only what has exactly the built-in types can be marshalled, and far faster than looked through.
            if _MARK not in marshal.dumps(value):
                return plain_json(value)
        except (ValueError, NotJsonError):
            pass
        return plain_json(self._encode(value, "", 0))

    def decode(self, value: Any) -> Any:
        """What was encoded; see ``Serializer.decode``."""
        if not isinstance(value, dict | list):
            return value
        if not value:
            return value.copy()
        try:
            encoded = orjson.dumps(value)
        except TypeError:
            return copy.deepcopy(value)  # the value of a test, or of somebody's own making: never stored
        own = orjson.loads(encoded)
        return self._decode(own) if _MARK in encoded else own

    # ---- to JSON ----

    def _encode(self, value: Any, place: str, depth: int) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if depth > MAX_DEPTH:
            raise NotJsonError(
                f"{_shown(place)} nests deeper than {MAX_DEPTH}; flatten it (or does it contain itself?)"
            )
        if isinstance(value, list | tuple):
            return [self._encode(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
        if isinstance(value, Mapping):
            return self._encode_mapping(value, place, depth)
        if isinstance(value, BaseModel) or dataclasses.is_dataclass(kind):
            return self._encode_fields(value, place, depth)
        return self._encode_scalar(value, place, depth)

    def _encode_scalar(self, value: Any, place: str, depth: int) -> Any:
        kind = type(value)
        if isinstance(value, Enum):
            name = self._named(kind, place)
            return {TAG: "enum", "class": name, "value": self._encode(value.value, place, depth + 1)}
        if isinstance(value, set | frozenset):
            items = [self._encode(item, f"{place}{{}}", depth + 1) for item in value]
            items.sort(key=lambda item: orjson.dumps(item, option=orjson.OPT_SORT_KEYS))
            return {TAG: "set" if isinstance(value, set) else "frozenset", "value": items}
        for scalar in _SCALARS:
            if isinstance(value, scalar.kind):
                return {TAG: scalar.tag, "value": scalar.text(value)}
        for plain in (str, int, float):
            if isinstance(value, plain):
                return plain.__call__(value)
        raise NotJsonError(
            f"{_shown(place)} is a {kind.__name__}, which cannot be kept: give JSON, a dataclass, a pydantic "
            "model, an enum, a set, or one of datetime, date, time, timedelta, Decimal, UUID, bytes"
        )

    def _encode_mapping(self, value: Mapping[Any, Any], place: str, depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotJsonError(f"{_shown(place)} has the key {key!r}, not a string; use {str(key)!r}")
            plain[str.__str__(key)] = self._encode(item, f"{place}.{key}", depth + 1)
        if any(key.endswith(TAG) for key in plain):
            return {f"${key}" if _TAG_LIKE.fullmatch(key) else key: item for key, item in plain.items()}
        return plain

    def _encode_fields(self, value: Any, place: str, depth: int) -> dict[str, Any]:
        if isinstance(value, BaseModel):
            fields: Iterable[tuple[str, Any]] = value
        else:
            fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        named = {name: self._encode(item, f"{place}.{name}", depth + 1) for name, item in fields}
        return {TAG: self._named(type(value), place), **named}

    def _named(self, kind: type, place: str) -> str:
        name = _class_name(kind)
        if self._find(name) is not kind:
            why = (
                "is not one of the serializer's types"
                if self._types is not None
                else ("cannot be found by its name; define it at the top of a module")
            )
            raise NotJsonError(f"{_shown(place)} is a {name}, which {why}")
        return name

    # ---- from JSON ----

    def _decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = value.get(TAG)
        if not isinstance(tag, str):
            return {
                name[1:] if name.startswith("$$") and _TAG_LIKE.fullmatch(name) else name: self._decode(item)
                for name, item in value.items()
            }
        try:
            return self._tagged(tag, value)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"a stored {tag} cannot be read back: {error}") from None

    def _tagged(self, tag: str, value: dict[str, Any]) -> Any:
        if tag in _READERS:
            return _READERS[tag](value["value"])
        if tag == "dict":
            return {name: self._decode(item) for name, item in value["value"]}
        if tag in ("set", "frozenset"):
            items = (self._decode(item) for item in value["value"])
            return set(items) if tag == "set" else frozenset(items)
        if tag == "enum":
            return self._known(value["class"])(self._decode(value["value"]))
        fields = {name: self._decode(item) for name, item in value.items() if name != TAG}
        return _made(self._known(tag), fields)

    def _known(self, name: str) -> type[Any]:
        kind = self._find(name)
        if kind is None:
            raise InputError(
                f"a stored value is a {name}, which this process does not know; import its module"
            )
        return kind

    def _find(self, name: str) -> type[Any] | None:
        if self._types is not None:
            return self._types.get(name)
        module_name, _, path = name.partition(":")
        found: Any = sys.modules.get(module_name)
        for part in path.split("."):
            found = getattr(found, part, None)
        return found if _keepable(found, module_name.partition(".")[0]) else None


@dataclasses.dataclass(frozen=True, slots=True)
class _Scalar:
    kind: type[Any] | tuple[type[Any], ...]
    tag: str
    text: Callable[[Any], str]
    read: Callable[[str], Any]


def _microseconds(value: timedelta) -> str:
    return str(value // timedelta(microseconds=1))


_SCALARS: Final = (
    _Scalar(datetime, "datetime", datetime.isoformat, datetime.fromisoformat),
    _Scalar(date, "date", date.isoformat, date.fromisoformat),
    _Scalar(time, "time", time.isoformat, time.fromisoformat),
    _Scalar(timedelta, "timedelta", _microseconds, lambda text: timedelta(microseconds=int(text))),
    _Scalar(Decimal, "decimal", str, Decimal),
    _Scalar(UUID, "uuid", str, UUID),
    _Scalar(
        (bytes, bytearray, memoryview),
        "bytes",
        lambda value: base64.b64encode(value).decode(),
        lambda text: base64.b64decode(text, validate=True),
    ),
)
_READERS: Final = {scalar.tag: scalar.read for scalar in _SCALARS}


def _keepable(kind: Any, package: str) -> bool:
    """Whether stored data may name it: an enum, or a dataclass or model that is not part of the machinery."""
    if not isinstance(kind, type):
        return False
    if issubclass(kind, Enum):
        return True
    if package in sys.stdlib_module_names or package in _OWN:
        return False
    return issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)


def _made(kind: type[Any], fields: dict[str, Any]) -> Any:
    if issubclass(kind, RootModel):
        return kind.model_validate(fields["root"])
    if issubclass(kind, BaseModel):
        return kind.model_validate(fields, by_name=True, by_alias=False)
    later = {field.name for field in dataclasses.fields(kind) if not field.init}
    made = kind(**{name: value for name, value in fields.items() if name not in later})
    for name in later & fields.keys():
        object.__setattr__(made, name, fields[name])
    return made


def _class_name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _shown(place: str) -> str:
    return f"`{place}`" if place else "the value"


JSON: Final = JsonSerializer()
"""The serializer of apps that name no other."""

"""Annotations of a function, each resolved by itself: one that cannot be does not hide the others."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An annotation whose names are not defined where the function stands.

    Attributes:
        text: As written.
        reason: What is not defined.
    """

    text: str
    reason: str


def annotations_of(code: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by parameter, and ``return``; ``Unresolved`` for what names something unknown."""
    plain: Any = inspect.unwrap(code)
    while isinstance(plain, functools.partial):
        plain = inspect.unwrap(plain.func)
    if inspect.isclass(plain):
        plain = plain.__init__
    elif not inspect.isroutine(plain):
        plain = type(plain).__call__
    own = getattr(plain, "__annotations__", None) or {}
    names = getattr(inspect.unwrap(plain), "__globals__", {})
    return {name: _resolved(annotation, names) for name, annotation in own.items()}


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    if annotation is None:
        return None
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)["it"]
    except Exception as error:
        return Unresolved(str(annotation), str(error))

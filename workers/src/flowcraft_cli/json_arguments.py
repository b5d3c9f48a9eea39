"""JSON that is given on the command line: as text, as a file, or as `KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from flowcraft_cli.usage import UsageError

_BEGINS_JSON: Final = ("{", "[", '"')
"""A value that begins so and is no JSON is a slip, not a text."""


def parse_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object, or that of a file.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    value = parse_json(text, option)
    if not isinstance(value, dict):
        raise UsageError(f"{option} must be a JSON object such as '{{\"amount\": 42}}'")
    return value


def parse_json(text: str, option: str) -> Any:
    """A JSON value, given as text or as `@FILE` (`@-` is stdin).

    Raises:
        UsageError: the file cannot be read, or the text is no JSON.
    """
    import sys

    if text.startswith("@"):
        try:
            text = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{option}: {text[1:]} cannot be read ({error})") from None
    try:
        return _json(text)
    except ValueError as error:
        raise UsageError(f"{option} is no JSON ({error}); write it like '{{\"amount\": 42}}'") from None


def parse_values(texts: Sequence[str], option: str) -> dict[str, Any]:
    """`KEY=VALUE`, each of a key of its own; a value that is no JSON is a text.

    Raises:
        UsageError: there is no `=`, a key is given twice, or a value begins like JSON and is none.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {text}: write it like KEY=VALUE, for example rate=0.5")
        if key in values:
            raise UsageError(f"{option} gives {key} twice: choose one")
        try:
            values[key] = _json(value)
        except ValueError as error:
            if value.startswith(_BEGINS_JSON):
                raise UsageError(f"{option} {key}: the value is no JSON ({error})") from None
            values[key] = value
    return values


def _json(text: str) -> Any:
    import json

    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

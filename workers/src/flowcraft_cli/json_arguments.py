"""JSON that is given on the command line: as text, as a file, or as `KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.json_values import NotJsonError

_BEGINS_JSON: Final = ("{", "[", '"')
"""A value that begins so and is no JSON is a slip, not a text."""
MAX_PLACE: Final = 60
"""Characters of a value's place that are told."""
MAX_DIGITS: Final = 1000


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
    if text.startswith("@"):
        text = _read(text[1:], option)
    try:
        value = _json(text)
    except ValueError as error:
        raise UsageError(f"{option} is no JSON ({error}); write it like '{{\"amount\": 42}}'") from None
    return _kept(value, option)


def _read(file: str, option: str) -> str:
    import sys

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{option}: {file} cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: {file} cannot be read (it is not UTF-8: byte {error.start})") from None
    if not text.strip():
        raise UsageError(f'{option}: {file} is empty; write JSON like {{"amount": 42}} into it')
    return text


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
            values[key] = _kept(_json(value), f"{option} {key}")
        except ValueError as error:
            if value.startswith(_BEGINS_JSON):
                raise UsageError(f"{option} {key}: the value is no JSON ({error})") from None
            values[key] = value
    return values


def _kept(value: Any, place: str) -> Any:
    """The value, if every backend keeps it as it is: no integer that loses digits, nothing too deep."""
    from flowcraft.json_values import NotJsonError, check_json

    try:
        check_json(value)
    except NotJsonError as error:
        raise UsageError(f"{place}: {told(error)}") from None
    return value


def told(error: NotJsonError) -> str:
    """What is wrong with a value, with its place in it; a place that is a hundred steps deep is cut."""
    place, text = error.place, str(error)
    if len(place) <= MAX_PLACE:
        return text
    return text.replace(place, f"{place[: MAX_PLACE // 2]}...{place[-MAX_PLACE // 2 :]}", 1)


def _json(text: str) -> Any:
    import json

    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_int=_integer)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:  # converting them takes long, so Python refuses it with advice of its own
        raise ValueError(f"an integer of {len(digits)} digits would lose most of them; use a string")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""Where each value of a JSON text begins: the parser that reads the values does not tell."""

from __future__ import annotations

import re
from typing import Final

import orjson

_WORD: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')

Path = tuple[str | int, ...]


def json_places(text: str) -> tuple[dict[Path, int], list[tuple[str, int]]]:
    """Offsets of values by path, and of keys that their object has twice; the text must be sound JSON."""
    places: dict[Path, int] = {}
    repeated: list[tuple[str, int]] = []
    path: list[str | int] = []
    in_object: list[bool] = []
    expects_key = False
    for match in _WORD.finditer(text):
        word = match.group()
        if word in {"]", "}"}:
            path.pop()
            in_object.pop()
            expects_key = False
        elif word == ",":
            if in_object[-1]:
                expects_key = True
            else:
                path[-1] = int(path[-1]) + 1
        elif word == ":":
            expects_key = False
        elif expects_key:
            key = orjson.loads(word)
            path[-1] = key
            if tuple(path) in places:
                repeated.append((key, match.start()))
        else:
            places[tuple(path)] = match.start()
            if word in {"[", "{"}:
                in_object.append(word == "{")
                path.append("" if word == "{" else 0)
                expects_key = word == "{"
    return places, repeated

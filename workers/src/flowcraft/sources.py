"""Documents of a file, JSON or YAML, with the place of each value: for messages that say line and column.

YAML may repeat itself by aliases and merge keys, and a parser may be driven deep; both are bounded before a
value is built, so that a file of a few lines costs no more than a few lines.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from flowcraft.json_places import json_places
from flowcraft.json_values import MAX_DEPTH
from flowcraft.source_places import DocumentPath, Position, Repetition, SourceError
from flowcraft.yaml_tree import LOADER, descend, position_of, refuse_depth, refuse_large, repeated_keys

__all__ = ["Position", "Repetition", "SourceDocument", "SourceError", "read_documents", "read_file"]

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
_LONG_NUMBER: Final = re.compile("[0-9]{19}")


class SourceDocument:
    """One document of a file.

    Attributes:
        value: The document as parsed; not checked to be JSON.
    """

    def __init__(self, value: Any, text: str, node: Any = None) -> None:
        """Take a parsed document; ``node`` is its YAML tree, without one the text is JSON."""
        self.value = value
        self._node = node
        self._places = _JsonPlaces(text) if node is None else None

    def repetitions(self) -> list[Repetition]:
        """Keys that an object has twice."""
        if self._places is not None:
            return self._places.repetitions
        return list(repeated_keys(self._node))

    def position(self, path: DocumentPath) -> Position:
        """Where the value of this path begins; where there is none, the innermost value around it."""
        if self._places is not None:
            return self._places.position(path)
        return position_of(descend(self._node, path).start_mark)

    def inside(self, path: DocumentPath, character: int) -> Position:
        """Where a character (counted from 1) of a text value is, if it is written as it is, on one line."""
        begin = self.position(path)
        quotes = 1
        if self._places is None:
            node = descend(self._node, path)
            if not isinstance(node, yaml.ScalarNode) or node.start_mark.line != node.end_mark.line:
                return begin
            quotes = 1 if node.style in {"'", '"'} else 0
            if node.end_mark.column - node.start_mark.column - 2 * quotes != len(node.value):
                return begin
        return Position(begin.line, begin.column + quotes + character - 1)


class _JsonPlaces:
    """Places in a JSON text, looked for when somebody asks."""

    def __init__(self, text: str) -> None:
        self._text = text

    def position(self, path: DocumentPath) -> Position:
        places, _ = self._found
        wanted = tuple(path)
        while wanted not in places and wanted:
            wanted = wanted[:-1]
        return self._at(places.get(wanted, 0))

    @property
    def repetitions(self) -> list[Repetition]:
        return [Repetition(key, self._at(offset)) for key, offset in self._found[1]]

    @cached_property
    def _found(self) -> tuple[dict[tuple[str | int, ...], int], list[tuple[str, int]]]:
        return json_places(self._text)

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self._text)]

    def _at(self, offset: int) -> Position:
        line = bisect_left(self._line_ends, offset)
        begin = self._line_ends[line - 1] + 1 if line else 0
        return Position(line + 1, offset - begin + 1)


def read_file(path: str | Path) -> list[SourceDocument]:
    """The documents of a file: one of JSON, any number of YAML; empty ones are left out.

    Raises:
        SourceError: it cannot be read, is neither, or goes over a bound.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SourceError(str(error.strerror or error)) from None
    if len(data) > MAX_FILE_BYTES:
        raise SourceError(f"it is longer than {MAX_FILE_BYTES // 2**20} MiB")
    return read_documents(data)


def read_documents(data: bytes) -> list[SourceDocument]:
    """The documents of a text. What begins like a JSON object is read as one first.

    Raises:
        SourceError: it is neither JSON nor YAML, or goes over a bound.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"it is not UTF-8: byte {error.start}") from None
    refused: orjson.JSONDecodeError | None = None
    if text.lstrip()[:1] in {"{", "["}:
        try:
            return [SourceDocument(_json(text), text)]
        except orjson.JSONDecodeError as error:
            refused = error
    try:
        return list(_yaml_documents(text))
    except SourceError:
        if refused is None:
            raise
        told = Position(refused.lineno, refused.colno)  # what begins like JSON was meant to be JSON
        raise SourceError(f"it is not JSON: {refused.msg}", told) from None


def _json(text: str) -> Any:
    """The value of a JSON text, with all digits of its integers: orjson rounds those above 64 bits."""
    value = orjson.loads(text)
    if not _LONG_NUMBER.search(text):
        return value
    try:
        return json.loads(text)
    except RecursionError:
        raise SourceError(f"it nests deeper than {MAX_DEPTH}") from None


def _yaml_documents(text: str) -> Iterator[SourceDocument]:
    try:
        refuse_depth(text)
        loader = LOADER(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                refuse_large(node)
                value = loader.construct_document(node)
                if value is not None:
                    yield SourceDocument(value, text, node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        told = position_of(mark) if mark is not None else None
        raise SourceError(f"it is not YAML: {' '.join(str(reason).split())}", told) from None
    except (RecursionError, ValueError) as error:
        raise SourceError(f"it is not YAML: {' '.join(str(error).split())}") from None

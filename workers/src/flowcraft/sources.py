"""Documents of a file, JSON or YAML, with the place of each value: for messages that say line and column.

YAML may repeat itself by aliases and merge keys, and a parser may be driven deep; both are bounded before a
value is built, so that a file of a few lines costs no more than a few lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from flowcraft.errors import BlueprintError
from flowcraft.json_places import json_places
from flowcraft.json_values import MAX_DEPTH

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
MAX_REPEATED: Final = 100_000
"""Values that the aliases of one YAML document may add to those written."""
MAX_NESTED_UNSEEN: Final = 1000
"""Nesting up to which libyaml, which recurses in C, is trusted without a look before."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEP_LINE: Final = re.compile(rf"[ ]{{{MAX_NESTED_UNSEEN}}}|(?:[-?:][ ]+){{{MAX_NESTED_UNSEEN // 4}}}")

DocumentPath = Sequence[str | int]
"""Keys and positions from the whole document to a value in it."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; both counted from 1, columns in characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


class SourceError(BlueprintError):
    """A file cannot be read as JSON or YAML, or goes over a bound.

    Attributes:
        position: Where, if that is known.
    """

    def __init__(self, reason: str, position: Position | None = None) -> None:
        super().__init__(reason)
        self.position = position


@dataclass(frozen=True, slots=True)
class Repetition:
    """A key that an object has twice; only the last one counts.

    Attributes:
        key: The key.
        position: Where it stands again.
    """

    key: str
    position: Position


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
        return list(_all_repeated(self._node))

    def position(self, path: DocumentPath) -> Position:
        """Where the value of this path begins; where there is none, the innermost value around it."""
        if self._places is not None:
            return self._places.position(path)
        return _mark(_descend(self._node, path).start_mark)

    def inside(self, path: DocumentPath, character: int) -> Position:
        """Where a character (counted from 1) of a text value is, if it is written as it is, on one line."""
        begin = self.position(path)
        quotes = 1
        if self._places is None:
            node = _descend(self._node, path)
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
            return [SourceDocument(orjson.loads(text), text)]
        except orjson.JSONDecodeError as error:
            refused = error
    try:
        return list(_yaml_documents(text))
    except SourceError:
        if refused is None:
            raise
        told = Position(refused.lineno, refused.colno)  # what begins like JSON was meant to be JSON
        raise SourceError(f"it is not JSON: {refused.msg}", told) from None


def _yaml_documents(text: str) -> Iterator[SourceDocument]:
    try:
        _refuse_depth(text)
        loader = _Loader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                _refuse_large(node)
                value = loader.construct_document(node)
                if value is not None:
                    yield SourceDocument(value, text, node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        told = _mark(mark) if mark is not None else None
        raise SourceError(f"it is not YAML: {' '.join(str(reason).split())}", told) from None
    except (RecursionError, ValueError) as error:
        raise SourceError(f"it is not YAML: {' '.join(str(error).split())}") from None


def _refuse_depth(text: str) -> None:
    """Look first: libyaml builds its tree by recursion in C, which no limit of Python ends."""
    if text.count("[") + text.count("{") <= MAX_NESTED_UNSEEN and not _DEEP_LINE.search(text):
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise SourceError(f"it nests deeper than {MAX_DEPTH}", _mark(event.start_mark))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _refuse_large(root: Any) -> None:
    """Refuse a tree that its aliases make large or endless.

    Sizes are those with every alias written out; each node is looked at once.
    """
    sizes: dict[int, int] = {}
    way: set[int] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, left = stack.pop()
        here = id(node)
        if left:
            way.discard(here)
            sizes[here] = 1 + sum(sizes[id(child)] for child in _children(node))
        elif here in way:
            raise SourceError("an alias contains itself", _mark(node.start_mark))
        elif here not in sizes:
            way.add(here)
            if len(way) > MAX_DEPTH:
                raise SourceError(f"it nests deeper than {MAX_DEPTH}", _mark(node.start_mark))
            stack.append((node, True))
            stack.extend((child, False) for child in _children(node))
    if sizes[id(root)] > len(sizes) + MAX_REPEATED:
        raise SourceError(f"its aliases add more than {MAX_REPEATED} values to those written")


def _all_repeated(root: Any) -> Iterator[Repetition]:
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            stack.extend(_children(node))
            if isinstance(node, yaml.MappingNode):
                yield from _repeated(node)


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _repeated(node: Any) -> Iterator[Repetition]:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen and key.value != "<<":
                yield Repetition(key.value, _mark(key.start_mark))
            seen.add(key.value)


def _descend(node: Any, path: DocumentPath) -> Any:
    for part in path:
        following = _step(node, part)
        if following is None:
            break
        node = following
    return node


def _step(node: Any, part: str | int) -> Any:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        merged = None
        for key, value in reversed(node.value):
            if key.value == part:
                return value
            if key.value == "<<" and merged is None:
                merged = value
        for source in merged.value if isinstance(merged, yaml.SequenceNode) else [merged] if merged else []:
            if (found := _step(source, part)) is not None:
                return found
    return None


def _mark(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)

"""YAML as libyaml reads it, before values are built of it: bounds, keys that stand twice, places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from flowcraft.json_values import MAX_DEPTH
from flowcraft.source_places import DocumentPath, Position, Repetition, SourceError

MAX_REPEATED: Final = 100_000
"""Values that the aliases of one YAML document may add to those written."""
MAX_NESTED_UNSEEN: Final = 1000
"""Nesting up to which libyaml, which recurses in C, is trusted without a look before."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEP_LINE: Final = re.compile(rf"[ ]{{{MAX_NESTED_UNSEEN}}}|(?:[-?:][ ]+){{{MAX_NESTED_UNSEEN // 4}}}")


def refuse_depth(text: str) -> None:
    """Look first: libyaml builds its tree by recursion in C, which no limit of Python ends.

    Raises:
        SourceError: it nests too deep, with the place.
    """
    if text.count("[") + text.count("{") <= MAX_NESTED_UNSEEN and not _DEEP_LINE.search(text):
        return
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise SourceError(f"it nests deeper than {MAX_DEPTH}", position_of(event.start_mark))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def refuse_large(root: Any) -> None:
    """Refuse a tree that its aliases make large or endless.

    Sizes are those with every alias written out; each node is looked at once.

    Raises:
        SourceError: it is, or nests too deep.
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
            raise SourceError("an alias contains itself", position_of(node.start_mark))
        elif here not in sizes:
            way.add(here)
            if len(way) > MAX_DEPTH:
                raise SourceError(f"it nests deeper than {MAX_DEPTH}", position_of(node.start_mark))
            stack.append((node, True))
            stack.extend((child, False) for child in _children(node))
    if sizes[id(root)] > len(sizes) + MAX_REPEATED:
        raise SourceError(f"its aliases add more than {MAX_REPEATED} values to those written")


def repeated_keys(root: Any) -> Iterator[Repetition]:
    """Keys that an object anywhere in the tree has twice."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            stack.extend(_children(node))
            if isinstance(node, yaml.MappingNode):
                yield from _repeated(node)


def descend(node: Any, path: DocumentPath) -> Any:
    """The node at a path, or the innermost one around it."""
    for part in path:
        following = _step(node, part)
        if following is None:
            break
        node = following
    return node


def position_of(mark: Any) -> Position:
    """A mark of the parser as a place."""
    return Position(mark.line + 1, mark.column + 1)


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
                yield Repetition(key.value, position_of(key.start_mark))
            seen.add(key.value)


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

"""Context keys in the code of nodes, as far as they can be read: written as text in a call."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flowcraft.implementation import NodeImplementation
from flowcraft.linting.finding import Finding, Words

_WRITES = frozenset({"set", "delete"})
_READS = frozenset({"get", "has"})


@dataclass(frozen=True, slots=True)
class KeysOfCode:
    """Context keys that an implementation's code names.

    Attributes:
        name: The implementation.
        written: Keys that it sets or deletes.
        read: Keys that it gets or asks for, with the line of its file.
        file: Where its code stands.
    """

    name: str
    written: frozenset[str]
    read: tuple[tuple[str, int], ...]
    file: str


def keys_of(implementations: Iterable[NodeImplementation]) -> list[KeysOfCode]:
    """Look through the code of these; what has no source, or computes its keys, is passed over."""
    found = []
    for implementation in implementations:
        try:
            lines, first = inspect.getsourcelines(inspect.unwrap(implementation.code))
            tree = ast.parse(textwrap.dedent("".join(lines)))
            file = inspect.getsourcefile(inspect.unwrap(implementation.code)) or ""
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        calls = list(_calls(tree))
        written = frozenset(key for method, key, _ in calls if method in _WRITES)
        read = tuple((key, first + line - 1) for method, key, line in calls if method in _READS)
        found.append(KeysOfCode(implementation.name, written, read, file))
    return found


def misspelt_keys(code: Iterable[KeysOfCode], given: Iterable[str] = ()) -> Iterator[Finding]:
    """Keys that some code reads and nobody writes, where somebody writes one nearly like it.

    Args:
        code: What the code of all implementations names.
        given: Names that are there without being written: those of nodes.
    """
    every = list(code)
    known = Words({key for each in every for key in each.written})
    there = frozenset(given)
    for each in every:
        for key, line in each.read:
            if key not in known and key not in there and (meant := known.meant(key)):
                yield Finding(
                    "MISSPELT_CONTEXT_KEY",
                    f"{each.file}:{line}: {each.name} reads the context key {key!r}, which no node writes; "
                    f"did you mean {meant!r}?",
                    severity="warning",
                )


def _calls(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        key = node.args[0]
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and _is_context(node.func.value):
            yield node.func.attr, key.value, node.lineno


def _is_context(owner: ast.expr) -> bool:
    """Whether this is written like ``ctx.context`` or ``ctx.context.blocking``."""
    if isinstance(owner, ast.Attribute) and owner.attr == "blocking":
        owner = owner.value
    return isinstance(owner, ast.Attribute) and owner.attr == "context"

"""The part of a scope that an expression reads: missing is null there, as upstream's evaluator has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flowcraft.expressions.reads import Path

CHARACTERS_A_VALUE: Final = 64


@dataclass(slots=True)
class ReadTree:
    """Paths by their common beginnings.

    Attributes:
        children: By next segment.
        whole: A path ends here: the value is read as it is.
        tested: A path in ``has(…)`` ends here: where it is missing, it stays so.
    """

    children: dict[str, ReadTree] = field(default_factory=dict)
    whole: bool = False
    tested: bool = False

    @classmethod
    def of(cls, paths: Iterable[Path], tested: Iterable[Path]) -> ReadTree:
        """The tree of these paths."""
        root = cls()
        for path in paths:
            root._at(path).whole = True
        for path in tested:
            root._at(path).tested = True
        return root

    def _at(self, path: Path) -> ReadTree:
        place = self
        for segment in path:
            place = place.children.setdefault(segment, ReadTree())
        return place

    def part(self, value: Any) -> Any:
        """What this expression sees of a value; objects on the way hold nothing but what it reads."""
        if self.whole:
            return value
        known = value if isinstance(value, Mapping) else {}
        seen: dict[str, Any] = {}
        for segment, child in self.children.items():
            if segment in known:
                seen[segment] = child.part(known[segment])
            elif not child.tested:
                seen[segment] = child.part(None)
        return seen if self.children else None


def count_values(values: Iterable[Any], limit: int) -> int:
    """How many values, at any depth, long text as several; counting stops above ``limit``."""
    stack = list(values)
    seen = 0
    while stack and seen <= limit:
        value = stack.pop()
        seen += 1
        if isinstance(value, str):
            seen += len(value) // CHARACTERS_A_VALUE
        elif isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
    return seen

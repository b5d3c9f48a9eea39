"""Places in files, and errors and findings that have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowcraft.errors import BlueprintError

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

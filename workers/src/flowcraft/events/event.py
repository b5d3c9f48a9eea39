"""What every event has, and how it is written down."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

_HUMP: Final = re.compile(r"_([a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a run.

    Attributes:
        execution_id: The run's id.
        blueprint_id: What it runs.
        at: ISO-8601 UTC with milliseconds.
    """

    type: ClassVar[str] = ""

    execution_id: str
    blueprint_id: str = ""
    at: str = ""

    def to_document(self) -> dict[str, Any]:
        """The event as JSON; nulls, and empty texts that are a field's default, are left out."""
        payload: dict[str, Any] = {}
        for name, shown, default in names_of(type(self)):
            value = getattr(self, name)
            if value is None or (value == "" and default == ""):
                continue
            payload[shown] = list(value) if isinstance(value, tuple) else value
        return {"type": self.type, "payload": payload}


def names_of(kind: type[Event]) -> tuple[tuple[str, str, Any], ...]:
    """Python's and the document's name of each field, and its default."""
    return tuple((field.name, _shown(field.name), field.default) for field in dataclasses.fields(kind))


@lru_cache(maxsize=256)
def _shown(name: str) -> str:
    return _HUMP.sub(lambda found: found.group(1).upper(), name)

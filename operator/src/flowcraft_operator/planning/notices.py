"""What is worth an Event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to a resource: a stable CamelCase reason, and a sentence."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"

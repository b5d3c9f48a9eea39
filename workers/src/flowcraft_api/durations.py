"""Durations: as users write them (Gateway API, GEP-2257), and as kubectl prints them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

DURATION_PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""The grammar of GEP-2257; a subset of Go's, so that CEL's `duration()` reads it as well."""

_MAX_LENGTH = 28
_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PATTERN = re.compile(DURATION_PATTERN)
_PART = re.compile(r"([0-9]{1,5})(ms|h|m|s)")


class Duration(str):
    """A duration as the user wrote it (`90s`, `1h30m`), which knows its length in seconds.

    Raises:
        ValueError: the text does not follow the grammar of GEP-2257.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the text; see the class."""
        if not _PATTERN.match(text) or text.endswith("\n"):
            raise ValueError(f"{text!r} is not a duration; write it like 30s, 5m or 1h30m")
        return super().__new__(cls, text)

    @property
    def milliseconds(self) -> int:
        """The length in whole milliseconds, the grammar's smallest unit."""
        return sum(int(number) * _UNIT_MS[unit] for number, unit in _PART.findall(self))

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.milliseconds / 1000

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take a text, keep a text: the user's spelling survives a round trip."""
        return core_schema.no_info_after_validator_function(
            cls._validated,
            core_schema.str_schema(max_length=_MAX_LENGTH),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=None),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Say the grammar as a pattern, so that the API server refuses what would be refused here."""
        return {"type": "string", "maxLength": _MAX_LENGTH, "pattern": DURATION_PATTERN}

    @classmethod
    def _validated(cls, text: str) -> Self:
        try:
            return cls(text)
        except ValueError as error:
            raise PydanticCustomError("duration", "{problem}", {"problem": str(error)}) from None


def _refuse_zero(duration: Duration) -> Duration:
    if duration.milliseconds == 0:
        raise PydanticCustomError("duration_zero", "must be longer than zero, for example 1s")
    return duration


PositiveDuration = Annotated[
    Duration,
    AfterValidator(_refuse_zero),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": _MAX_LENGTH,
            "pattern": DURATION_PATTERN,
            "x-kubernetes-validations": [
                {
                    "rule": "duration(self) > duration('0s')",
                    "message": "must be longer than zero, for example 1s",
                }
            ],
        }
    ),
]
"""A duration that is longer than zero."""


def compact_duration(seconds: float) -> Duration:
    """The shortest spelling of a length in the grammar of GEP-2257, rounded to milliseconds.

    Args:
        seconds: 0 to 99,999 hours; what is outside is cut to this range.
    """
    rest = min(max(round(seconds * 1000), 0), 99_999 * _UNIT_MS["h"])
    parts = []
    for unit in ("h", "m", "s", "ms"):
        number, rest = divmod(rest, _UNIT_MS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return Duration("".join(parts) or "0s")


def human_duration(seconds: float) -> str:  # noqa: PLR0911 - a table of thresholds reads best as returns
    """A length as kubectl prints an AGE: never more than two units, coarser the longer it is.

    The steps are those of `k8s.io/apimachinery/pkg/util/duration.HumanDuration`.
    """
    total = math.floor(seconds)
    if total < 0:
        return "0s" if total >= -1 else "<invalid>"
    minutes, hours, days = total // 60, total // 3_600, total // 86_400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    years = days // 365
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def elapsed(seconds: float) -> str:
    """How long a run took, for the DURATION column: tenths below ten seconds, then as `human_duration`."""
    tenths = round(max(seconds, 0.0) * 10)
    if tenths >= 100:
        return human_duration(tenths / 10)
    return f"{tenths // 10}s" if tenths % 10 == 0 else f"{tenths / 10:.1f}s"


def _two(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first}{first_unit}{second}{second_unit}" if second else f"{first}{first_unit}"

"""Durations as text: the Gateway API's grammar (GEP-2257), upstream's ``2d``, and upstream's milliseconds."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any, Final

_UNITS_S: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_TEXT: Final = re.compile(r"(?:[0-9]{1,15}(?:ms|[dhms])){1,5}")
_PART: Final = re.compile(r"([0-9]+)(ms|[dhms])")
MAX_DURATION_S: Final = 100 * 366 * 86400.0


def duration_s(value: Any) -> float:
    """Seconds of a duration: ``"90s"``, ``"1h30m"``, ``"2d"``, or upstream's number of milliseconds.

    Raises:
        ValueError: it is none, or is above 100 years.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str) and _TEXT.fullmatch(value):
        seconds = sum(int(count) * _UNITS_S[unit] for count, unit in _PART.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        seconds = value / 1000
    else:
        shown = "nothing" if value is None else repr(value)
        raise ValueError(f'{shown} is no duration; write for example "30s", "10m", "1h30m" or "2d"')
    if not 0 <= seconds <= MAX_DURATION_S:
        raise ValueError(f"{value!r} is no duration between 0 and 100 years")
    return seconds


def duration_text(value: timedelta) -> str:
    """A time span in the grammar, to the millisecond."""
    milliseconds = round(value / timedelta(milliseconds=1))
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"

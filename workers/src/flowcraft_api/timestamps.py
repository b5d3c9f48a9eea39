"""Points in time: how stored documents and Kubernetes write them, always read as aware UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer


def parse_instant(value: str | float | None) -> datetime | None:
    """Read a time out of a stored document: ISO-8601 text, or seconds or milliseconds since the epoch.

    Clients that write run headers by hand use either. A text without an offset is UTC. What is no time at all
    is None, because a header with a broken time must still be shown.
    """
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            # Milliseconds of any date after 1973 are larger than seconds of any date before 5138.
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def whole_seconds(instant: datetime) -> datetime:
    """Cut a time to whole seconds, the precision of Kubernetes' own times."""
    return instant.astimezone(UTC).replace(microsecond=0)


def rfc3339(instant: datetime) -> str:
    """Write a time the way Kubernetes does: `2026-01-31T08:00:00Z`."""
    return whole_seconds(instant).isoformat().replace("+00:00", "Z")


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(whole_seconds),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]
"""A time of whole seconds in UTC, so that a status that is read back compares equal to the one written."""

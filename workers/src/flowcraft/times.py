"""Times as stored: ISO-8601 UTC text with milliseconds, and epoch numbers of hand-written clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def iso(moment: datetime) -> str:
    """Text that sorts like the times."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"  # without "+00:00"


def parse_time(value: object) -> datetime | None:
    """Read ISO text or an epoch (seconds, or milliseconds where it is that large); None if it is no time."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            seconds = value / 1000 if value > 1e11 else value
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):  # no year has it, or it is no number at all
            return None
    if isinstance(value, str) and value:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def later(moment: datetime, seconds: float) -> str:
    """``moment`` plus ``seconds``, as stored."""
    return iso(moment + timedelta(seconds=seconds))

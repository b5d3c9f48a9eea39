"""When a store is to delete what is too old."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from flowcraft.clock import SystemClock
from flowcraft.ports.clock import Clock

LOOK_EVERY_S: Final = 3600.0


class Retention:
    """Keeps runs for so long after their newest event; looks rarely, while events are stored."""

    def __init__(
        self, keep_s: float, *, clock: Clock | None = None, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        """Args: seconds to keep; the machine's clock by default; seconds between two looks at least."""
        self._keep = timedelta(seconds=keep_s)
        self._clock = clock or SystemClock()
        self._look_every_s = look_every_s
        self._looked_at: float | None = None

    def due(self) -> datetime | None:
        """What is older than this is to go now; None while it is not time to look."""
        now_s = self._clock.monotonic()
        if self._looked_at is not None and now_s - self._looked_at < self._look_every_s:
            return None
        self._looked_at = now_s
        return self._clock.now() - self._keep

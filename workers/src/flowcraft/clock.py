"""The real clock, for every process that is not a test."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Time of this machine; implements ``flowcraft.ports.clock.Clock``."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)
    """Seconds that never go back; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; cancellable."""
        await asyncio.sleep(max(0.0, seconds))

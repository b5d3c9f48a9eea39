"""Progress of long runs, on stderr: one line that moves on a terminal, one line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final, TextIO

from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument

QUIET_S: Final = 2.0
"""What takes less is not worth a line."""
LINE_EVERY_S: Final = 10.0


class Progress:
    """Says how far runs are, once it takes long."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._moving = self._stream.isatty()
        self._started = time.monotonic()
        self._last = self._started
        self._shown = ""

    def show(self, headers: Sequence[HeaderDocument]) -> None:
        """Show how many runs ended and how many nodes are resolved."""
        now = time.monotonic()
        if now - self._started < QUIET_S or (not self._moving and now - self._last < LINE_EVERY_S):
            return
        self._last = now
        text = f"{_summary(headers)}, {now - self._started:.0f} s"
        if self._moving:
            self._stream.write(f"\r{text:<{len(self._shown)}}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()
        self._shown = text

    def tell(self, text: str) -> None:
        """Say something once."""
        self.end()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._moving and self._shown:
            self._stream.write(f"\r{'':<{len(self._shown)}}\r")
            self._stream.flush()
            self._shown = ""


def _summary(headers: Sequence[HeaderDocument]) -> str:
    ended = sum(header.get("status") in TERMINAL_STATUSES for header in headers)
    counts = [header["progress"] for header in headers if "progress" in header]
    text = f"{ended} of {len(headers)} runs ended"
    if counts:
        text += f", {sum(c['done'] for c in counts)}/{sum(c['total'] for c in counts)} nodes"
    return text

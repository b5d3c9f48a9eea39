"""What happened in a simulation, line by line, with its times."""

from __future__ import annotations

import hashlib
import traceback
from typing import Any, Protocol


class Timed(Protocol):
    """Knows the time."""

    @property
    def now(self) -> float:
        """Seconds from the beginning."""
        ...


class History:
    """Lines in order; polling that found nothing is left out."""

    def __init__(self, time: Timed) -> None:
        self._time = time
        self._lines: list[tuple[float, str, str, int]] = []
        self.defects: list[str] = []

    def add(self, who: str, what: str, call: int = 0) -> None:
        """Note what somebody did; ``call`` is the number of a port's call."""
        self._lines.append((self._time.now, who, what, call))

    def logger(self, who: str) -> Any:
        """A logger that writes here; what it logs as an exception is a defect."""
        return _Logger(self, who)

    def digest(self) -> str:
        """Tells two histories apart."""
        return hashlib.sha256(repr(self._lines).encode()).hexdigest()[:16]

    def text(self, *, everything: bool = False) -> str:
        """The lines, for people."""
        quiet = (
            "queue.receive ",
            "queue.depth",
            "coordination.heartbeat",
            "coordination.lease",
            "facts.headers",
        )
        return "\n".join(
            f"{at:10.3f} {call or '':>5} {who:>12}  {what}"
            for at, who, what, call in self._lines
            if everything or not what.startswith(quiet) or "{" in what
        )


class _Logger:
    def __init__(self, history: History, who: str) -> None:
        self._history = history
        self._who = who

    def _note(self, level: str, event: str, values: dict[str, Any]) -> None:
        values.pop("run_id", None)
        told = " ".join(f"{name}={value}" for name, value in values.items())
        self._history.add(self._who, f"[{level}] {event} {told}")

    def debug(self, event: str, **values: Any) -> None:
        self._note("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        self._note("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        self._note("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        self._note("error", event, values)

    def exception(self, event: str, **values: Any) -> None:
        self._history.defects.append(f"{event}: {traceback.format_exc()}")
        self._note("defect", event, values)

    def bind(self, **_values: Any) -> _Logger:
        return self

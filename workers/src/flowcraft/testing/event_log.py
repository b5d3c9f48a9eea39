"""A subscriber that remembers every event, to be asked afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TextIO, TypeVar, overload

from flowcraft.events import Event

E = TypeVar("E", bound=Event)


class EventLog:
    """All events of the runs it listened to: ``app.on()(log)``, or ``extensions.events.subscribe(log)``."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Remember an event."""
        self.events.append(event)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def types(self) -> list[str]:
        """The type of each event, in order."""
        return [event.type for event in self.events]

    @overload
    def find(self, kind: type[E], **fields: Any) -> E | None: ...

    @overload
    def find(self, kind: str, **fields: Any) -> Any: ...

    def find(self, kind: type[Event] | str, **fields: Any) -> Any:
        """The first event of a type, by class or name, whose fields have these values; None without one."""
        return next(iter(self._matching(kind, fields)), None)

    @overload
    def filter(self, kind: type[E], **fields: Any) -> list[E]: ...

    @overload
    def filter(self, kind: str, **fields: Any) -> list[Any]: ...

    def filter(self, kind: type[Event] | str, **fields: Any) -> list[Any]:
        """All events of a type whose fields have these values, in order."""
        return list(self._matching(kind, fields))

    def clear(self) -> None:
        """Forget all events."""
        self.events.clear()

    def text(self, title: str = "Run") -> str:
        """The events as people read them, one a line."""
        lines = [f"--- {title}: {len(self.events)} events ---"]
        for number, event in enumerate(self.events, 1):
            payload = dict(event.to_document()["payload"])
            for name in ("executionId", "blueprintId", "at", "nodeId"):
                if name != "nodeId" or "nodeKey" in payload:
                    payload.pop(name, None)
            told = "  ".join(f"{name}={_short(value)}" for name, value in payload.items())
            lines.append(f"{number:4}  {event.type:<16}  {told}".rstrip())
        return "\n".join(lines)

    def print_log(self, title: str = "Run", file: TextIO | None = None) -> None:
        """Print ``text``, by default to standard output."""
        (file or sys.stdout).write(f"{self.text(title)}\n")

    def _matching(self, kind: type[Event] | str, fields: dict[str, Any]) -> Iterator[Event]:
        for event in self.events:
            fits = event.type == kind if isinstance(kind, str) else isinstance(event, kind)
            if fits and all(getattr(event, name) == value for name, value in fields.items()):
                yield event


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

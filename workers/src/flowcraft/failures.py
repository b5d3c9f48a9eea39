"""What a failed attempt leaves behind: type, message and line of the user's code, fit for a record."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from flowcraft.concealment import concealed

MAX_MESSAGE: Final = 2000
"""Characters; the record is read whole with every inspection of a run."""


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """A failure, as records and status show it.

    Attributes:
        type: Name of the exception.
        message: Its text, cut at ``MAX_MESSAGE``; never empty.
        line: Where the user's code raised it, as in ``shop.flows:18 in charge``; None where not known.
        cause: What the node had failed with when its fallback failed with this.
    """

    type: str
    message: str
    line: str | None = None
    cause: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without what is not known."""
        document = {"type": self.type, "message": self.message, "line": self.line, "cause": self.cause}
        return {name: value for name, value in document.items() if value is not None}

    @classmethod
    def of(cls, error: BaseException, *, after: BaseException | None = None) -> ErrorDetail:
        """Describe an exception; ``after`` is the one whose handling raised it."""
        cause = None if after is None else f"{type(after).__name__}: {_text(after)}"
        return cls(type(error).__name__, _text(error), _user_line(error.__traceback__), cause)


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    text = concealed(text).encode("utf-8", "replace").decode() or f"{type(error).__name__} without a message"
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"


def _user_line(traceback: TracebackType | None) -> str | None:
    """The last line of the user's own code; else of the standard library; never one of this package."""
    user_line = library_line = None
    while traceback is not None:
        frame = traceback.tb_frame
        module = str(frame.f_globals.get("__name__", "?"))
        top = module.partition(".")[0]
        if top != __package__:
            line = f"{module}:{traceback.tb_lineno} in {frame.f_code.co_name}"
            if top in sys.stdlib_module_names:
                library_line = line
            else:
                user_line = line
        traceback = traceback.tb_next
    return user_line or library_line

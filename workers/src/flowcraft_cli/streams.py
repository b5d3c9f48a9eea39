"""Output streams that do not take every character: a terminal or a pipe whose encoding is not UTF-8."""

from __future__ import annotations

import io
from typing import Final, TextIO

_SAMPLE: Final = "é→😀"
"""From Latin, from other planes: what encodes them all encodes everything."""


def escape_unknown(stream: TextIO) -> None:
    """Let a stream write what its encoding lacks as Python escapes it, instead of failing in the middle."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def takes_unicode(stream: TextIO) -> bool:
    """Whether a stream writes every character as itself; else data is to be escaped as its format does."""
    try:
        _SAMPLE.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True

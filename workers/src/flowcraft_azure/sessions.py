"""Session tokens: what this process has seen of a container, never less than before."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"(?P<range>[^:,]+):(?P<version>-?\d+)#(?P<lsn>\d+)(?:#.*)?\Z")
_SENDABLE: Final = re.compile(r"\w+:[-0-9#=.]+(,\w+:[-0-9#=.]+)*\Z", re.ASCII)


def sendable(token: str) -> str | None:
    """The token, or None for other text: a message by hand must not make the service refuse reads."""
    return token if _SENDABLE.match(token) else None


class SessionTracker:
    """Keeps the newest token of each physical partition.

    A token is ``<partition range>:<version>#<log sequence number>``, then numbers of regions. Answers to
    concurrent requests come in any order; whoever goes on from the latest answer must not see less than
    what was answered before.
    """

    def __init__(self) -> None:
        self._newest: dict[str, tuple[tuple[int, int], str]] = {}

    def newest(self, token: str) -> str:
        """The token, or one known of a later position in its partition; unknown forms stay as they are."""
        found = _TOKEN.match(token)
        if found is None:
            return token
        position = (int(found["version"]), int(found["lsn"]))
        known = self._newest.get(found["range"])
        if known is not None and known[0] >= position:
            return known[1]
        self._newest[found["range"]] = (position, token)
        return token

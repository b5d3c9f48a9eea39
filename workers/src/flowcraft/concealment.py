"""Secrets of this process, hidden in every text that leaves it: logs, and what is recorded of failures.

Client libraries put addresses and keys into their exceptions. Where such a one ends a node, its text becomes
part of the run's facts, which more people may read than the worker's environment.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "[hidden]"
SHORTEST_PART: Final = 6
"""What is shorter stands in too many words to be replaced by itself."""
_KEYS: Final = frozenset({"accountkey", "sharedaccesssignature", "password"})


class Concealment:
    """Replaces secrets wherever they stand."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Args: the values; keys and passwords inside them are hidden alone as well."""
        parts = {part for text in secrets for part in _parts(text) if len(part) >= SHORTEST_PART}
        self._secrets = sorted({*secrets, *parts}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without any secret."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """The same for texts in lists and objects; an exception becomes its text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return self.text(str(value)) if isinstance(value, BaseException) else value


class _Process:
    concealment = Concealment(())


def conceal(secrets: Sequence[str]) -> Concealment:
    """Hide these from now on in everything that this process records of failures."""
    _Process.concealment = Concealment(secrets)
    return _Process.concealment


def concealed(text: str) -> str:
    """The text without any secret of this process."""
    return _Process.concealment.text(text)


def _parts(secret: str) -> Iterator[str]:
    """The keys of a connection string, and the password of an address."""
    for part in re.split("[;,]", secret):
        name, _, value = part.partition("=")
        if name.strip().lower() in _KEYS:
            yield value
    with contextlib.suppress(ValueError):
        if password := urlsplit(secret).password:
            yield password
            yield unquote(password)

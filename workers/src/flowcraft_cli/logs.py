"""Logs: JSON lines in pods, readable ones on a terminal, and no secret in either."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import structlog

from flowcraft_cli.settings import Settings, secret_values

HIDDEN: Final = "[hidden]"
SHORTEST_PART: Final = 6
"""What is shorter stands in too many words to be replaced by itself."""
_QUIET_LIBRARIES: Final = ("azure", "aiohttp.access", "urllib3", "redis")
"""They log every request at INFO."""


def configure_logs(settings: Settings, *, quiet: bool = False) -> None:
    """Send this program's and the libraries' logs to stderr, in the form that the settings choose.

    ``quiet`` is for commands whose own output tells what matters: warnings only, unless DEBUG is asked for.
    """
    level: int = getattr(logging, settings.log_level.upper())
    if quiet and level == logging.INFO:
        level = logging.WARNING
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        SecretHiding(secret_values()),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(settings)],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class SecretHiding:
    """A step of structlog that replaces secret values wherever they stand in an entry."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Args: the values; keys and passwords inside them are hidden alone as well."""
        parts = {part for text in secrets for part in _parts(text) if len(part) >= SHORTEST_PART}
        self._secrets = sorted({*secrets, *parts}, key=len, reverse=True)

    def __call__(self, logger: Any, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The entry without any secret."""
        for key, value in entry.items():
            entry[key] = self._hide(value)
        return entry

    def _hide(self, value: Any) -> Any:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, HIDDEN)
            return value
        if isinstance(value, dict):
            return {key: self._hide(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._hide(item) for item in value]
        return self._hide(str(value)) if isinstance(value, BaseException) else value


def _parts(secret: str) -> Iterator[str]:
    """The keys of a connection string, and the password of an address."""
    for part in re.split("[;,]", secret):
        name, _, value = part.partition("=")
        if name.strip().lower() in {"accountkey", "sharedaccesssignature", "password"}:
            yield value
    with contextlib.suppress(ValueError):
        if password := urlsplit(secret).password:
            yield password
            yield unquote(password)


def _renderer(settings: Settings) -> Any:
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    if text:
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer()

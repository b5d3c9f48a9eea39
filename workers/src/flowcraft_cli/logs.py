"""Logs: JSON lines in pods, readable ones on a terminal, and no secret in either."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from flowcraft.concealment import Concealment, conceal
from flowcraft_cli.settings import Settings, secret_values

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
        SecretHiding(conceal(secret_values())),
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

    def __init__(self, concealment: Concealment) -> None:
        """Args: what knows the secrets."""
        self._concealment = concealment

    def __call__(self, logger: Any, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The entry without any secret."""
        for key, value in entry.items():
            entry[key] = self._concealment.value(value)
        return entry


def _renderer(settings: Settings) -> Any:
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    if text:
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer()

"""Loggers that an app brings along: structlog's, the standard library's, or anything with their methods."""

from __future__ import annotations

import logging
from typing import Any


def bound(logger: Any, **facts: str | int) -> Any:
    """The logger with these facts in each line.

    Args:
        logger: One of structlog's, one of ``logging``, or another with ``debug``, ``info``, ``warning``,
            ``error``; None: structlog's own of this program.
        facts: What each line says; of ``logging``, they are attributes of its records.
    """
    if logger is None:
        import structlog  # noqa: PLC0415  half of the start of a command that logs nothing

        logger = structlog.get_logger("flowcraft.node")
    if hasattr(logger, "bind"):
        return logger.bind(**facts)
    if isinstance(logger, logging.Logger):
        return logging.LoggerAdapter(logger, facts)
    return logger

"""Reads that do not show yet what is known to exist."""

from __future__ import annotations

from typing import Final

STALE_DELAYS_S: Final = (0.01, 0.05, 0.25)
"""Pauses before a fact that must exist is read again; then the message is given back, or the caller told."""

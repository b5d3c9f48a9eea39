"""Unit tests are deterministic: properties are tried with the same examples everywhere, however slow the machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("unit")

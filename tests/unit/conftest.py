"""Unit tests are deterministic: a property is tried with the same examples everywhere."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("unit")

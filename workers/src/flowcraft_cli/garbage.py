"""Garbage collection of a process that lives long and works much."""

from __future__ import annotations

import gc
from typing import Final

NEW_OBJECTS: Final = 10_000
"""So many more objects made than freed set off a collection of the young; Python's own number is 700."""


def collect_rarely() -> None:
    """Keep what is loaded out of all later collections, and have fewer of those.

    Requests make and free thousands of objects, nearly all of them without cycles. With Python's settings a
    worker spends about 8 % of its CPU on collections, which walk the SDKs' modules again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 10, 10)

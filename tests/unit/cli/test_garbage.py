"""A worker's collections are few, and leave alone what it has loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from flowcraft_cli.garbage import NEW_OBJECTS, collect_rarely


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The test process's own settings, afterwards."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_is_loaded_is_frozen_and_cycles_are_still_found() -> None:
    class Node:
        freed = 0

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            Node.freed += 1

    collect_rarely()
    assert gc.get_freeze_count() > 10_000
    for _ in range(NEW_OBJECTS * 2):
        Node()
    assert Node.freed > 0

"""The original's process and our modes, each started once, when a test first needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.parity.modes import Modes
from tests.parity.upstream import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as process:
        yield process


@pytest.fixture(scope="session")
def modes() -> Iterator[Modes]:
    with Modes() as ways:
        yield ways

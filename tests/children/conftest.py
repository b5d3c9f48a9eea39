"""The modes in which children are tested."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from tests.children.runs import MODES, Ended

Run = Callable[..., Awaitable[Ended]]


@pytest.fixture(params=list(MODES))
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an app's flow to its end, in each mode."""
    return MODES[request.param]

"""A place to work at, on each backend in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.operations.place import Place, azure, embedded


@pytest.fixture(params=["embedded", pytest.param("azure", marks=pytest.mark.emulators)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A queue with nobody at work yet."""
    if request.param == "embedded":
        opened = embedded()
    else:
        opened = azure(request.getfixturevalue("stand_ins"), request.getfixturevalue("unique_name"))
    async with opened as found:
        yield found

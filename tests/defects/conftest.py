"""A place of its own for each defect."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from tests.defects.place import Code, Place
from tests.emulators.stand_ins import StandIns

from flowcraft_azure import AzureSettings, provision


@pytest.fixture
async def place(stand_ins: StandIns, unique_name: str) -> AsyncIterator[Place]:
    """A provisioned backend; its workers are stopped at the end."""
    environment = {**os.environ, **stand_ins.environment, "FLOWCRAFT_COSMOS_DATABASE": unique_name}
    settings = AzureSettings.from_environment(environment, unique_name)
    await provision(settings)
    opened = Place(settings)
    async with opened.stack:
        yield opened


@pytest.fixture
def code() -> Code:
    """What the nodes of the test's workers do."""
    return Code()

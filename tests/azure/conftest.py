"""Fixtures of the tests that are Azure's own: a provisioned backend of its own for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator

import pytest
from tests.azure.scripted_service import ScriptedService
from tests.emulators.stand_ins import StandIns

from flowcraft_azure import AzureBackend, AzureSettings, RequestCounter, open_azure, provision


@pytest.fixture
def unprovisioned(stand_ins: StandIns, unique_name: str) -> AzureSettings:
    """Settings whose queue, database and containers nobody has made."""
    environment = {**os.environ, **stand_ins.environment, "FLOWCRAFT_COSMOS_DATABASE": unique_name}
    return AzureSettings.from_environment(environment, unique_name)


@pytest.fixture
async def settings(unprovisioned: AzureSettings) -> AzureSettings:
    """Settings of a provisioned backend."""
    await provision(unprovisioned)
    return unprovisioned


@pytest.fixture
def counter() -> RequestCounter:
    """Counts the requests of ``backend``."""
    return RequestCounter()


@pytest.fixture
async def backend(settings: AzureSettings, counter: RequestCounter) -> AsyncIterator[AzureBackend]:
    """An open backend."""
    async with open_azure(settings, counter=counter) as opened:
        yield opened


@pytest.fixture
def run_id() -> str:
    """A run that no other test knows."""
    return str(uuid.uuid4())


@pytest.fixture
async def service() -> AsyncIterator[ScriptedService]:
    """An HTTP server that answers as it is told, in place of a service."""
    async with ScriptedService() as scripted:
        yield scripted

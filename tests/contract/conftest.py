"""The fixtures of the contract suite."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from tests.contract.backends import BACKENDS, BackendUnderTest


@pytest.fixture(params=[pytest.param(name, marks=marks) for name, (_, marks) in BACKENDS.items()])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[BackendUnderTest]:
    """Each backend in turn."""
    factory, _ = BACKENDS[request.param]
    async with factory(request) as opened:
        yield opened


@pytest.fixture
def run_id() -> str:
    """A run that no other test knows."""
    return str(uuid.uuid4())

"""Fixtures of all tests: one set of stand-ins a session, started when the first test asks for it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from tests.emulators.stand_ins import RunningStandIns, StandIns


@pytest.fixture(scope="session")
def stand_ins() -> Iterator[StandIns]:
    """The connection strings of queue, Cosmos DB and Redis.

    They are those of the environment when all three variables are set (stand-ins that run already, the
    vendor's emulators, or real Azure); otherwise a set is started on free ports and ended with the session.
    """
    given = StandIns.from_environment(os.environ)
    if given is not None:
        yield given
        return
    running = RunningStandIns()
    try:
        yield running.connections
    finally:
        running.stop()


@pytest.fixture
def unique_name() -> str:
    """A name no other test has, of lower-case letters and digits: fit for queue, database and Redis key."""
    return f"t{uuid.uuid4().hex[:12]}"

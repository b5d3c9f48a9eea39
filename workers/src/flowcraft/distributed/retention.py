"""Deleting a run: everything that belongs to it, in an order that a crash does not break."""

from __future__ import annotations

from contextlib import suppress

from flowcraft.distributed.ending import Ports
from flowcraft.ports.errors import BackendUnavailableError


async def purge(ports: Ports, run_id: str) -> None:
    """Delete a run's keys, its facts, and its header last: whoever still finds it goes on from there."""
    with suppress(BackendUnavailableError):  # without it, its keys expire by themselves
        await ports.coordination.forget(run_id)
    await ports.facts.purge(run_id)

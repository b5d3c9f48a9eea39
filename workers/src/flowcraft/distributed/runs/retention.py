"""Deleting a run: everything that belongs to it, in an order that a crash does not break."""

from __future__ import annotations

from contextlib import suppress

from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.runs.families import descendants
from flowcraft.ports.errors import BackendUnavailableError


async def purge(ports: Ports, run_id: str) -> None:
    """Delete a run's keys, its facts, and its header last: whoever still finds it goes on from there."""
    for child_id in reversed(await _subflows(ports, run_id)):
        await _purge_one(ports, child_id)
    await _purge_one(ports, run_id)


async def _subflows(ports: Ports, run_id: str) -> list[str]:
    stored = await ports.facts.read_header(run_id)
    return await descendants(ports, run_id) if stored is not None and stored.document.get("subflows") else []


async def _purge_one(ports: Ports, run_id: str) -> None:
    with suppress(BackendUnavailableError):  # without it, its keys expire by themselves
        await ports.coordination.forget(run_id)
    await ports.facts.purge(run_id)

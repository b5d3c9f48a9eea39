"""Large values as a service of the simulation: nothing is ever lost or stale, calls may be."""

from __future__ import annotations

from tests.simulation.link import Link

from flowcraft.ports import ValueStore
from flowcraft.ports.errors import BackendRefusedError


class ValueServer:
    """What is stored, of all processes; by run and name."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], bytes] = {}

    def get(self, run_id: str, name: str) -> bytes:
        """One value."""
        try:
            return self.values[run_id, name]
        except KeyError:
            raise BackendRefusedError(f"value {name} of run {run_id} does not exist") from None

    def purge(self, run_id: str) -> None:
        """Delete those of a run."""
        for place in [place for place in self.values if place[0] == run_id]:
            del self.values[place]


class SimulatedValues(ValueStore):
    """The value store port of one process."""

    def __init__(self, server: ValueServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def put(self, run_id: str, name: str, data: bytes) -> None:
        """See ``ValueStore.put``."""
        await self._link.call(
            f"put value {name[:6]}", lambda: self._server.values.update({(run_id, name): data})
        )

    async def get(self, run_id: str, name: str) -> bytes:
        """See ``ValueStore.get``."""
        return await self._link.call(f"get value {name[:6]}", lambda: self._server.get(run_id, name))

    async def purge(self, run_id: str) -> None:
        """See ``ValueStore.purge``."""
        await self._link.call("purge values", lambda: self._server.purge(run_id))

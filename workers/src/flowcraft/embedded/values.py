"""The value store port on SQLite: a table of its own, so that who reads facts does not read past values."""

from __future__ import annotations

from flowcraft.embedded.database import Database
from flowcraft.ports.errors import BackendRefusedError

_PUT = "INSERT INTO large_value VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_GET = "SELECT data FROM large_value WHERE run_id = ? AND name = ?"
_PURGE = "DELETE FROM large_value WHERE run_id = ?"


class EmbeddedValues:
    """Large values of runs in the file; implements the ``ValueStore`` port."""

    def __init__(self, database: Database) -> None:
        """Args: the open file."""
        self._database = database

    async def put(self, run_id: str, name: str, data: bytes) -> None:
        """Keep a value."""
        await self._database.keep(
            run_id, lambda connection: connection.execute(_PUT, (run_id, name, data)), single=True
        )

    async def get(self, run_id: str, name: str) -> bytes:
        """The value of this name."""
        row = await self._database.shown(
            run_id, lambda connection: connection.execute(_GET, (run_id, name)).fetchone()
        )
        if row is None:
            raise BackendRefusedError(f"value {name} of run {run_id} was deleted from the run file")
        data: bytes = row[0]
        return data

    async def purge(self, run_id: str) -> None:
        """Delete all values of the run."""
        await self._database.keep(run_id, lambda connection: connection.execute(_PURGE, (run_id,)))

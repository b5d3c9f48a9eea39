"""The value store port: bytes of a run that are too large for its fact store."""

from __future__ import annotations

from typing import Protocol


class ValueStore(Protocol):
    """Keeps large values of runs by name. A value that was put is kept until its run is purged.

    Every method raises ``BackendUnavailableError`` and ``BackendRefusedError``, as the fact store's do.
    """

    async def put(self, run_id: str, name: str, data: bytes) -> None:
        """Keep a value; a name stands for its content, so that putting it again changes nothing."""
        ...

    async def get(self, run_id: str, name: str) -> bytes:
        """The value of this name.

        Raises:
            BackendRefusedError: it does not exist: somebody deleted it.
        """
        ...

    async def purge(self, run_id: str) -> None:
        """Delete all values of the run; a purge that was interrupted is done again."""
        ...

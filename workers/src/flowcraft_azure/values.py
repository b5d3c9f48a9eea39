"""The value store on Blob Storage: a blob a value, under the run's id, in one container."""

from __future__ import annotations

import asyncio
from typing import Final

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from flowcraft.ports.errors import BackendRefusedError
from flowcraft.ports.values import ValueStore
from flowcraft_azure.faults import Faults

SERVICE: Final = "Blob Storage"
DELETES_AT_A_TIME: Final = 16


class BlobValueStore(ValueStore):
    """Large values of runs as blobs ``<run id>/<name>``.

    Args:
        client: An ``azure.storage.blob.aio`` client of the container; it is the caller's to close.
    """

    def __init__(self, client: ContainerClient) -> None:
        self._client = client
        self._place = f"container {client.container_name}"

    async def put(self, run_id: str, name: str, data: bytes) -> None:
        """See ``ValueStore.put``: one request."""
        with Faults(SERVICE, self._place):
            await self._client.upload_blob(f"{run_id}/{name}", data, overwrite=True, length=len(data))

    async def get(self, run_id: str, name: str) -> bytes:
        """See ``ValueStore.get``: one request up to 32 MiB, which is what the SDK reads at a time."""
        with Faults(SERVICE, self._place):
            try:
                stream = await self._client.download_blob(f"{run_id}/{name}")
                data: bytes = await stream.readall()
            except ResourceNotFoundError as error:
                if getattr(error, "error_code", "") == "ContainerNotFound":
                    raise
            else:
                return data
        raise BackendRefusedError(
            f"{SERVICE}, {self._place}: value {name} of run {run_id} does not exist: somebody, or a lifecycle"
            " rule of the account, deleted it"
        )

    async def purge(self, run_id: str) -> None:
        """See ``ValueStore.purge``."""
        with Faults(SERVICE, self._place):
            pending: list[str] = []
            async for name in self._client.list_blob_names(name_starts_with=f"{run_id}/"):
                pending.append(name)
                if len(pending) == DELETES_AT_A_TIME:
                    await self._delete(pending)
                    pending = []
            await self._delete(pending)

    async def _delete(self, names: list[str]) -> None:
        async def delete(name: str) -> None:
            try:
                await self._client.delete_blob(name, delete_snapshots="include")
            except ResourceNotFoundError:
                return  # deleted by an earlier purge, or by another one right now

        await asyncio.gather(*(delete(name) for name in names))

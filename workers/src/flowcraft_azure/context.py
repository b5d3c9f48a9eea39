"""The shared keys of one run, from outside a node: for tools that speak to Cosmos DB themselves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal

from azure.cosmos.aio import CosmosClient
from azure.storage.blob.aio import ContainerClient

from flowcraft.engine.marks import is_mark
from flowcraft.large_values import MARK, is_reference, whole_value
from flowcraft.node import MISSING
from flowcraft.ports import Commit, ContextWrite
from flowcraft.ports.errors import BackendRefusedError
from flowcraft_azure.containers import Container, CosmosAccount
from flowcraft_azure.documents import context_items, input_of, item_id, merged_context, newest_seq
from flowcraft_azure.settings import DEFAULT_CONTEXT_CONTAINER, DEFAULT_STATUS_CONTAINER
from flowcraft_azure.values import BlobValueStore

_ALL: Final = "SELECT * FROM c WHERE c.type IN ('k', 'p') OR c.id = c.runId"


class CosmosDbContext:
    """Reads and writes the context keys of a run.

    Over the run's input, which is the first layer, lie the keys that nodes and callers wrote. Where nobody
    wrote or deleted a key, a node key means that node's output; ``_outputs.<node key>`` always does. A node
    should use its own ``ctx.context``: what it writes there appears with its record, or not at all; what is
    written here appears at once.

    Args:
        run_id: The run.
        client: An ``azure.cosmos.aio`` client; it is the caller's to close.
        cosmos_database_name: Name of the database.
        context_container_name: Name of the container of context keys.
        status_container_name: Name of the container of run headers, which hold small inputs.
        value_container_client: Of the blob container of values over 128 KiB; needed for runs that have such.
    """

    type: Literal["async"] = "async"

    def __init__(
        self,
        run_id: str,
        *,
        client: CosmosClient,
        cosmos_database_name: str,
        context_container_name: str = DEFAULT_CONTEXT_CONTAINER,
        status_container_name: str = DEFAULT_STATUS_CONTAINER,
        value_container_client: ContainerClient | None = None,
    ) -> None:
        account = CosmosAccount(client)
        self.run_id = run_id
        self._contexts = Container(account, cosmos_database_name, context_container_name)
        self._statuses = Container(account, cosmos_database_name, status_container_name)
        self._values = BlobValueStore(value_container_client) if value_container_client else None

    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; ``default`` where there is none.

        Raises:
            BackendRefusedError: it is a large value, and no container of these was given.
        """
        found = await self._found(key)
        return default if found is MISSING else await self._whole(key, found)

    async def has(self, key: str) -> bool:
        """Whether the key exists, null included."""
        return await self._found(key) is not MISSING

    async def set(self, key: str, value: Any) -> None:
        """Write a key.

        Raises:
            PayloadTooLargeError: the value is over 2 MB.
        """
        await self._write(ContextWrite(key, value))

    async def delete(self, key: str) -> None:
        """Remove a key; one that does not exist is no error."""
        await self._write(ContextWrite(key, deleted=True))

    async def to_json(self) -> dict[str, Any]:
        """All keys and values that nodes and callers wrote, and the input; nothing of the engine's own.

        Raises:
            BackendRefusedError: there is a large value, and no container of these was given.
        """
        first, kept, written = await self._layers()
        shown = {name: value for name, value in first.items() if name not in written} | kept
        return {key: await self._whole(key, value) for key, value in shown.items()}

    async def _found(self, key: str) -> Any:
        """What a key means, large values still as references; ``MISSING`` if nothing."""
        node_key = key.removeprefix("_outputs.")
        first, kept, written = await self._layers()
        if key in written:
            return kept.get(key, MISSING)
        item, _ = await self._contexts.read(item_id("n", node_key), self.run_id)
        if item is not None and item.get("status") == "completed":
            return item.get("output")
        return kept.get(node_key, MISSING) if node_key != key else first.get(key, MISSING)

    async def _layers(self) -> tuple[dict[str, Any], dict[str, Any], Collection[str]]:
        """The input, the keys that were written, and the names of these and of those deleted."""
        items = [
            item async for page in self._contexts.query(_ALL, partition=self.run_id) for item in page.items
        ]
        written = [item for item in items if item["id"] != self.run_id]
        names = {item["key"] for item in written if item["type"] == "k"}
        names |= {name for item in written if item["type"] == "p" for name in item["entries"]}
        kept, _ = merged_context(written, {name for name in names if name != MARK and not is_mark(name)})
        return await self._input([item for item in items if item["id"] == self.run_id]), kept, names

    async def _whole(self, key: str, value: Any) -> Any:
        if not is_reference(value):
            return value
        if self._values is None:
            raise BackendRefusedError(
                f"context key {key} of run {self.run_id} is a large value, which lies in Blob Storage: "
                "give its container with value_container_client"
            )
        return await whole_value(self._values, self.run_id, value)

    async def _input(self, items: list[Any]) -> dict[str, Any]:
        if items:
            value = await self._whole("input", input_of(items[0]))
        else:
            header, _ = await self._statuses.read(self.run_id, self.run_id)
            value = header.get("input") if header else None
        return dict(value) if isinstance(value, dict) else {}

    async def _write(self, write: ContextWrite) -> None:
        ids = [item_id("k", write.key)]
        text = "SELECT * FROM c WHERE c.id = @id OR (c.type = 'p' AND c.id != c.runId)"
        pages = self._contexts.query(text, {"@id": ids[0]}, partition=self.run_id)
        items = [item async for page in pages for item in page.items]
        # Later than all that is there, else a pack of a node would hide it.
        commit = Commit(context=[write], seq=newest_seq(items, write.key) + 1)
        (item,) = context_items(self.run_id, commit)
        await self._contexts.upsert(item)

"""The Cosmos DB account and its containers, with one request a call and errors of the ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from azure.core import MatchConditions
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import (
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)
from azure.cosmos.partition_key import NonePartitionKeyValue

from flowcraft.ports.errors import BackendRefusedError, ConflictError, PreconditionFailedError
from flowcraft_azure.documents import Operation
from flowcraft_azure.faults import Faults
from flowcraft_azure.sessions import SessionTracker, sendable

SERVICE: Final = "Cosmos DB"
PARTITION_PATH: Final = "/runId"
"""The partition key of both containers."""
NO_PARTITION: Final = NonePartitionKeyValue
"""The partition of items that were created without the partition key."""
PAGE_ITEMS: Final = 1000
"""Items asked for in a page; the service ends a page earlier at 4 MB."""
_SESSION: Final = "x-ms-session-token"
_OWNER_MISSING: Final = 1003


class Written(NamedTuple):
    """What a write answers: the new version of the item, and the session that proves the write."""

    etag: str
    session: str


class Page(NamedTuple):
    """One page of a query, and the session that proves what it has seen."""

    items: Sequence[Mapping[str, Any]]
    session: str


@dataclass(slots=True)
class CosmosAccount:
    """A client and whether it is entered: the SDK learns regions and consistency only then.

    Entering costs one request, is done at the first use, and is tried again at the next use when it failed.
    """

    client: CosmosClient
    _entered: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def enter(self) -> None:
        """Enter the client unless it is.

        Raises:
            BackendUnavailableError: the account cannot be reached.
            BackendRefusedError: it refuses the credentials.
        """
        if self._entered:
            return
        async with self._lock:
            if not self._entered:
                with Faults(SERVICE, f"account {self.client.client_connection.url_connection}"):
                    await self.client.__aenter__()
                self._entered = True


class Container:
    """One container; its properties are read once, at the first use."""

    def __init__(self, account: CosmosAccount, database: str, name: str) -> None:
        self.name = name
        self._account = account
        self._database = database
        self._client = account.client.get_database_client(database).get_container_client(name)
        self._faults = Faults(SERVICE, f"container {name} of database {database}")
        self._sessions = SessionTracker()
        self._known = False

    async def create(self, item: dict[str, Any]) -> Written:
        """Create an item in the partition that it names.

        Raises:
            ConflictError: an item of this id exists in the partition.
        """
        client = await self._ready()
        with self._faults:
            try:
                answer = await client.create_item(item, no_response=True)
            except CosmosResourceExistsError as error:
                raise ConflictError(f"item {item['id']} exists already in container {self.name}") from error
        return self._written(answer)

    async def upsert(self, item: dict[str, Any]) -> None:
        """Write an item whatever is there."""
        client = await self._ready()
        with self._faults:
            await client.upsert_item(item, no_response=True)

    async def replace(self, item: dict[str, Any], etag: str) -> Written:
        """Replace an item if it is still this version.

        Raises:
            PreconditionFailedError: it was changed or deleted meanwhile.
        """
        client = await self._ready()
        with self._faults:
            try:
                answer = await client.replace_item(
                    item["id"],
                    item,
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                    no_response=True,
                )
            except CosmosHttpResponseError as error:
                if not _changed(error):
                    raise
                raise PreconditionFailedError(
                    f"item {item['id']} of container {self.name} was changed meanwhile"
                ) from error
        return self._written(answer)

    async def patch(self, item_id: str, partition: Any, values: Mapping[str, Any]) -> bool:
        """Set top-level values of an item; False when there is no such item."""
        client = await self._ready()
        steps = [{"op": "set", "path": f"/{name}", "value": value} for name, value in values.items()]
        with self._faults:
            try:
                await client.patch_item(item_id, partition, steps, no_response=True)
            except CosmosResourceNotFoundError as error:
                self._require_owner(error)
                return False
        return True

    async def delete(self, item_id: str, partition: Any) -> None:
        """Delete an item; one that is gone is deleted."""
        client = await self._ready()
        with self._faults:
            try:
                await client.delete_item(item_id, partition)
            except CosmosResourceNotFoundError as error:
                self._require_owner(error)

    async def batch(self, partition: str, operations: Sequence[Operation], session: str = "") -> str:
        """Write all or nothing, in one request; gives the session.

        Raises:
            ConflictError: an item to create exists.
            PreconditionFailedError: an item to replace was changed or deleted meanwhile.
        """
        client = await self._ready()
        with self._faults:
            try:
                answer = await client.execute_item_batch(
                    [operation.for_batch() for operation in operations],
                    partition,
                    session_token=sendable(session),
                    no_response=True,
                )
            except CosmosBatchOperationError as error:
                refused = operations[error.error_index or 0]
                if error.status_code == 409 and refused.verb == "create":
                    raise ConflictError(f"item {refused.item['id']} exists already") from error
                if error.status_code in {404, 412} and refused.verb == "replace":
                    raise PreconditionFailedError(
                        f"item {refused.item['id']} was changed meanwhile"
                    ) from error
                raise
        return self._seen(answer.get_response_headers())

    async def delete_all(self, partition: str, item_ids: Sequence[str]) -> bool:
        """Delete up to 100 items of a partition at once; False when one of them was gone already."""
        client = await self._ready()
        with self._faults:
            try:
                await client.execute_item_batch([("delete", (item_id,)) for item_id in item_ids], partition)
            except CosmosBatchOperationError as error:
                if error.status_code != 404:
                    raise
                return False
        return True

    async def read(
        self, item_id: str, partition: Any, session: str = ""
    ) -> tuple[Mapping[str, Any] | None, str]:
        """Read an item, and the session that proves what was seen; None where there is none."""
        client = await self._ready()
        with self._faults:
            try:
                found = await client.read_item(item_id, partition, session_token=sendable(session))
            except CosmosResourceNotFoundError as error:
                self._require_owner(error)
                return None, self._seen(error.headers)
        return found, self._seen(found.get_response_headers())

    async def query(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        partition: str | None = None,
        session: str = "",
        page_items: int = PAGE_ITEMS,
    ) -> AsyncIterator[Page]:
        """Pages of a query, over one partition or (without it) all."""
        client = await self._ready()
        options: dict[str, Any] = {"max_item_count": page_items}
        if partition is not None:
            options["partition_key"] = partition
        if token := sendable(session):
            options["session_token"] = token
        named = [{"name": name, "value": value} for name, value in (parameters or {}).items()]
        with self._faults:
            pager = client.query_items(text, parameters=named, **options)
            pages = pager.by_page()
        while True:
            with self._faults:
                try:
                    items = [item async for item in await anext(pages)]
                except StopAsyncIteration:
                    return
                seen = self._seen(pager.get_response_headers())
            yield Page(items, seen)

    async def _ready(self) -> ContainerProxy:
        if not self._known:
            await self._account.enter()
            with self._faults:
                # The SDK needs and keeps the properties; a missing container shows here.
                properties = await self._client.read()
            self._require_partition(properties)
            self._known = True
        return self._client

    def _require_partition(self, properties: Mapping[str, Any]) -> None:
        """Refuse a container whose items lie in other partitions: what is written would not be found."""
        paths = properties.get("partitionKey", {}).get("paths", [])
        if paths != [PARTITION_PATH]:
            raise BackendRefusedError(
                f"{SERVICE}, container {self.name} of database {self._database}: its partition key is "
                f"{', '.join(paths) or 'missing'}, not {PARTITION_PATH}; name another container, or delete "
                "this one and `flowcraft provision` creates it anew"
            )

    def _written(self, answer: Any) -> Written:
        headers = answer.get_response_headers()
        return Written(str(headers.get("etag", "")), self._seen(headers))

    def _seen(self, headers: Mapping[str, Any]) -> str:
        return self._sessions.newest(str(headers.get(_SESSION, "")))

    def _require_owner(self, error: CosmosResourceNotFoundError) -> None:
        if error.sub_status == _OWNER_MISSING:
            self._known = False
            raise BackendRefusedError(
                f"{SERVICE}, container {self.name} of database {self._database}: does not exist; "
                "`flowcraft provision` creates it"
            ) from error
        if error.sub_status == 1002:
            raise error


def _changed(error: CosmosHttpResponseError) -> bool:
    if error.status_code == 404:
        return error.sub_status not in {1002, _OWNER_MISSING}
    return error.status_code == 412

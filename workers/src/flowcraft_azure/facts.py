"""The fact store on Cosmos DB: run headers in one container, records and context in another.

Requests: a commit, a header write and a header read are one each; a load is one for up to 500 items.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from azure.cosmos.aio import CosmosClient

from flowcraft.ports import Commit, FactStore, HeaderQuery, Loaded, Stored, StoredRecord
from flowcraft.ports.errors import ConflictError, StaleReadError
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument
from flowcraft_azure import queries
from flowcraft_azure.containers import Container, CosmosAccount
from flowcraft_azure.documents import (
    BATCH_LIMIT,
    input_of,
    item_id,
    merged_context,
    operations,
    require_fits,
    stored_record,
)
from flowcraft_azure.headers import Headers

IDS_A_QUERY: Final = 500


class CosmosFactStore(FactStore):
    """Facts of runs in two containers of one database, both partitioned by ``/runId``.

    A session is the context container's session token. It proves what was seen in the whole physical
    partition; reads that pass it are consistent with it on any replica.

    Args:
        client: An ``azure.cosmos.aio`` client; entered at the first use, it is the caller's to close.
        database: Name of the database.
        context_container: Name of the container of records, context keys, inputs and snapshots.
        status_container: Name of the container of run headers.
    """

    def __init__(
        self, client: CosmosClient, database: str, context_container: str, status_container: str
    ) -> None:
        account = CosmosAccount(client)
        self.database = database
        self.status_container = status_container
        self._contexts = Container(account, database, context_container)
        self._headers = Headers(Container(account, database, status_container), self._contexts)

    async def create_header(self, document: HeaderDocument, input_item: Any = None) -> Stored:
        """See ``FactStore.create_header``."""
        return await self._headers.create(document, input_item)

    async def read_header(self, run_id: str) -> Stored | None:
        """See ``FactStore.read_header``."""
        return await self._headers.read(run_id)

    async def replace_header(self, stored: Stored, document: HeaderDocument) -> Stored:
        """See ``FactStore.replace_header``."""
        return await self._headers.replace(stored, document)

    def headers(self, query: HeaderQuery) -> AsyncIterator[Sequence[Stored]]:
        """See ``FactStore.headers``."""
        return self._headers.list(query)

    async def write_snapshot(self, run_id: str, content_hash: str, snapshot: Mapping[str, Any]) -> str:
        """See ``FactStore.write_snapshot``."""
        reference = item_id("b", content_hash)
        item = {"id": reference, "runId": run_id, "type": "b", "snapshot": snapshot}
        require_fits([item])
        with suppress(ConflictError):  # the same content has the same id
            await self._contexts.create(item)
        return reference

    async def read_snapshot(self, run_id: str, reference: str) -> Mapping[str, Any]:
        """See ``FactStore.read_snapshot``."""
        item, _ = await self._contexts.read(reference, run_id)
        if item is None:
            raise StaleReadError(f"blueprint snapshot {reference} of run {run_id} is not visible yet")
        snapshot: Mapping[str, Any] = item["snapshot"]
        return snapshot

    async def load(
        self,
        run_id: str,
        *,
        nodes: Sequence[str] = (),
        context: Sequence[str] = (),
        with_input: bool = False,
        session: str = "",
    ) -> Loaded:
        """See ``FactStore.load``: a point read for one record or the input, else a query."""
        ids = [item_id("n", key) for key in dict.fromkeys(nodes)]
        ids += [item_id("k", key) for key in dict.fromkeys(context)]
        ids += [run_id] if with_input else []
        items, seen = await self._items(run_id, ids, with_packs=bool(context), session=session)
        records = [stored_record(item) for item in items if item.get("type") == "n" and item["id"] != run_id]
        values, deleted = merged_context([item for item in items if item["id"] != run_id], context)
        return Loaded(
            records={stored.record.key: stored for stored in records},
            context=values,
            input=next((input_of(item) for item in items if with_input and item["id"] == run_id), None),
            session=seen or session,
            deleted=deleted,
        )

    async def resolved(
        self, run_id: str, nodes: Sequence[str], session: str = ""
    ) -> Mapping[str, NodeRecord]:
        """See ``FactStore.resolved``: a point read for one record, else a query that leaves outputs out."""
        if len(nodes) == 1:
            item, _ = await self._contexts.read(item_id("n", nodes[0]), run_id, session)
            record = None if item is None else replace(NodeRecord.from_document(item), output=None)
            return {record.key: record} if record is not None and record.resolved else {}
        found: dict[str, NodeRecord] = {}
        for chunk in _chunks([item_id("n", key) for key in dict.fromkeys(nodes)], IDS_A_QUERY):
            text, parameters = queries.resolved_records(chunk)
            async for page in self._contexts.query(text, parameters, partition=run_id, session=session):
                found.update((item["key"], NodeRecord.from_document(item)) for item in page.items)
        return found

    async def commit(self, run_id: str, commit: Commit, session: str = "") -> str:
        """See ``FactStore.commit``: one request; a single record needs no transaction."""
        writes = operations(run_id, commit)
        if not writes:
            return session
        if len(writes) == 1 and writes[0].verb != "upsert":
            only = writes[0]
            if only.verb == "create":
                return (await self._contexts.create(only.item)).session
            return (await self._contexts.replace(only.item, only.etag)).session
        return await self._contexts.batch(run_id, writes, session)

    async def records(self, run_id: str, session: str = "") -> AsyncIterator[Sequence[StoredRecord]]:
        """See ``FactStore.records``."""
        text, parameters = queries.ALL_RECORDS
        async for page in self._contexts.query(text, parameters, partition=run_id, session=session):
            if page.items:
                yield [stored_record(item) for item in page.items]

    async def purge(self, run_id: str) -> None:
        """See ``FactStore.purge``: batches of 100 deletes, the header last."""
        text, parameters = queries.ALL_IDS
        gone_meanwhile = True
        while gone_meanwhile:
            gone_meanwhile = False
            ids = [
                item["id"]
                async for page in self._contexts.query(text, parameters, partition=run_id)
                for item in page.items
            ]
            for chunk in _chunks(ids, BATCH_LIMIT):
                if not await self._contexts.delete_all(run_id, chunk):
                    gone_meanwhile = True
        await self._headers.purge(run_id)

    async def _items(
        self, run_id: str, ids: Sequence[str], *, with_packs: bool, session: str
    ) -> tuple[list[Mapping[str, Any]], str]:
        if not ids:
            return [], session
        if len(ids) == 1 and not with_packs:
            item, seen = await self._contexts.read(ids[0], run_id, session)
            return ([] if item is None else [item]), seen
        found: list[Mapping[str, Any]] = []
        seen = session
        for number, chunk in enumerate(_chunks(ids, IDS_A_QUERY)):
            text, parameters = queries.items(chunk, with_packs=with_packs and number == 0)
            async for page in self._contexts.query(text, parameters, partition=run_id, session=seen):
                found.extend(page.items)
                seen = page.session or seen
        return found, seen


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))

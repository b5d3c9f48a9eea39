"""Run headers in the status container, those of hand-written clients included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, cast

from flowcraft.ports import HeaderQuery, Stored
from flowcraft.ports.errors import ConflictError
from flowcraft.times import iso
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument
from flowcraft_azure import queries
from flowcraft_azure.containers import NO_PARTITION, Container
from flowcraft_azure.documents import (
    header_document,
    input_item,
    input_of,
    require_fits,
    without_system,
)

IDS_A_QUERY: Final = 200
ADOPTED: Final = "adopted"
"""Set in a header that was made from one without partition key."""
ADOPTED_AT: Final = "adoptedAt"
"""Set in that original, so that listings leave it out."""


class Headers:
    """Headers of runs: created, read, replaced, listed, adopted.

    A client that follows the original's steps creates its two items without ``runId``, so they lie in the
    partition of items without key, where they cannot be part of a run's transactions. The first read of such
    a run copies them to where they belong; from then on only the copies count. The original header is told
    the terminal status too, because its owner reads it.
    """

    def __init__(self, statuses: Container, contexts: Container) -> None:
        self._statuses = statuses
        self._contexts = contexts

    async def create(self, document: HeaderDocument, large_input: Any) -> Stored:
        """See ``FactStore.create_header``."""
        run_id = document["runId"] if "runId" in document else document["id"]
        item = {**document, "id": run_id, "runId": run_id}
        require_fits([item])
        if large_input is not None:
            await self._write_input(run_id, large_input)
        written = await self._statuses.create(item)
        return Stored(cast("HeaderDocument", item), written.etag)

    async def read(self, run_id: str) -> Stored | None:
        """See ``FactStore.read_header``: one request; two where there is none, and what adopting takes."""
        item, _ = await self._statuses.read(run_id, run_id)
        if item is None:
            return await self._adopt(run_id)
        stored = Stored(header_document(item), item["_etag"])
        if _is_adopted(stored.document) and _is_terminal(stored.document):
            # The worker that ended the run may have died before it told the original: say it again.
            await self._tell_original(stored.document)
        return stored

    async def replace(self, stored: Stored, document: HeaderDocument) -> Stored:
        """See ``FactStore.replace_header``."""
        run_id = stored.document.get("runId") or stored.document["id"]
        item = {**without_system(document), "id": run_id, "runId": run_id}
        require_fits([item])
        written = await self._statuses.replace(item, stored.etag)
        replaced = Stored(cast("HeaderDocument", item), written.etag)
        if _is_adopted(replaced.document) and _is_terminal(replaced.document):
            await self._tell_original(replaced.document)
        return replaced

    async def list(self, query: HeaderQuery) -> AsyncIterator[Sequence[Stored]]:
        """See ``FactStore.headers``; the only query over all partitions."""
        chunks: list[Sequence[str] | None] = [None]
        if query.run_ids is not None:
            ids = list(dict.fromkeys(query.run_ids))
            chunks = [ids[start : start + IDS_A_QUERY] for start in range(0, len(ids), IDS_A_QUERY)]
        for chunk in chunks:
            text, parameters = queries.headers(query, chunk)
            async for page in self._statuses.query(text, parameters):
                listed = [
                    Stored(header_document(item), item["_etag"])
                    for item in page.items
                    if query.untouched_since is None
                    or queries.untouched(cast("HeaderDocument", item), query.untouched_since)
                ]
                if listed:
                    yield listed

    async def purge(self, run_id: str) -> None:
        """Delete the header, and the original items that it was adopted from."""
        item, _ = await self._statuses.read(run_id, run_id)
        if item is not None and item.get(ADOPTED):
            await self._contexts.delete(run_id, NO_PARTITION)
            await self._statuses.delete(run_id, NO_PARTITION)
        await self._statuses.delete(run_id, run_id)

    async def _write_input(self, run_id: str, value: Any) -> None:
        item = input_item(run_id, value)
        require_fits([item])
        try:
            await self._contexts.create(item)
        except ConflictError:
            # Of a start that died before it wrote the header; of a run that has one it is not to be touched.
            header, _ = await self._statuses.read(run_id, run_id)
            if header is not None:
                raise
            await self._contexts.upsert(item)

    async def _adopt(self, run_id: str) -> Stored | None:
        original, _ = await self._statuses.read(run_id, NO_PARTITION)
        if original is None:
            return None
        context, _ = await self._contexts.read(run_id, NO_PARTITION)
        if context is not None:
            with suppress(ConflictError):  # another worker adopts it too
                await self._contexts.create(input_item(run_id, input_of(context)))
        written_at = datetime.fromtimestamp(original.get("_ts", 0), UTC)
        document = cast(
            "HeaderDocument",
            {
                "createdAt": iso(written_at),
                **without_system(original),
                "runId": run_id,
                "type": "header",
                ADOPTED: True,
            },
        )
        try:
            stored = await self.create(document, None)
        except ConflictError:  # another worker adopted it meanwhile
            item, _ = await self._statuses.read(run_id, run_id)
            return None if item is None else Stored(header_document(item), item["_etag"])
        await self._statuses.patch(run_id, NO_PARTITION, {ADOPTED_AT: document["createdAt"]})
        return stored

    async def _tell_original(self, document: HeaderDocument) -> None:
        values: dict[str, Any] = {
            "status": document["status"],
            "lastUpdated": document.get("lastUpdated"),
            ADOPTED_AT: document.get("createdAt"),
        }
        await self._statuses.patch(document["runId"], NO_PARTITION, values)


def _is_adopted(document: HeaderDocument) -> bool:
    return bool(cast("Mapping[str, Any]", document).get(ADOPTED))


def _is_terminal(document: HeaderDocument) -> bool:
    return document.get("status") in TERMINAL_STATUSES

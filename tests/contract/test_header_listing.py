"""The promises of the fact store port about listing headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.contract.backends import BackendUnderTest

from flowcraft.ports import HeaderQuery, Stored
from flowcraft_api.wire import HeaderDocument

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Listing:
    """Headers of this test's own, and which of them a query gives."""

    def __init__(self, backend: BackendUnderTest, prefix: str) -> None:
        self._facts = backend.facts
        self._prefix = prefix
        self.queue = f"queue-{prefix}"

    async def add(self, name: str, **more: Any) -> Stored:
        run_id = f"{self._prefix}-{name}"
        document: dict[str, Any] = {
            "id": run_id,
            "runId": run_id,
            "type": "header",
            "status": "running",
            "queue": self.queue,
            "lastUpdated": "2026-01-31T11:00:00.000Z",
            **more,
        }
        return await self._facts.create_header(
            {key: value for key, value in document.items() if value is not None}  # type: ignore[arg-type]
        )

    async def listed(self, **query: Any) -> list[Stored]:
        pages = self._facts.headers(HeaderQuery(**query))
        return [
            stored
            async for page in pages
            for stored in page
            if stored.document["runId"].startswith(f"{self._prefix}-")
        ]

    async def names(self, **query: Any) -> list[str]:
        found = [stored.document["runId"] for stored in await self.listed(**query)]
        return sorted(name.removeprefix(f"{self._prefix}-") for name in found)


@pytest.fixture
def listing(backend: BackendUnderTest, run_id: str) -> Listing:
    return Listing(backend, run_id)


async def test_a_listed_header_is_a_projection_that_can_be_replaced(
    listing: Listing, backend: BackendUnderTest
) -> None:
    created = await listing.add(
        "a",
        input={"x": "y" * 100},
        blueprint={"id": "order"},
        progress={"done": 1, "total": 2},
        output={"z": 1},
    )
    (listed,) = await listing.listed(queue=listing.queue)
    assert listed.document.keys().isdisjoint({"input", "blueprint"})
    assert listed.document["progress"] == {"done": 1, "total": 2}
    assert listed.document["status"] == "running"
    assert listed.etag == created.etag
    document: HeaderDocument = {**created.document, "status": "completed"}
    await backend.facts.replace_header(listed, document)


async def test_headers_of_the_queue_and_of_no_queue_are_listed(listing: Listing) -> None:
    await listing.add("mine")
    await listing.add("other", queue=f"{listing.queue}-other")
    await listing.add("none", queue=None)
    assert await listing.names(queue=listing.queue) == ["mine", "none"]


async def test_without_conditions_all_headers_are_listed(listing: Listing) -> None:
    await listing.add("mine")
    await listing.add("other", queue=f"{listing.queue}-other", status="completed")
    assert await listing.names() == ["mine", "other"]


async def test_headers_are_listed_by_status(listing: Listing, backend: BackendUnderTest) -> None:
    for status in ("running", "awaiting", "paused", "completed", "failed", "cancelled"):
        await listing.add(status, status=status)
    assert await listing.names(queue=listing.queue, statuses=["running", "awaiting"]) == [
        "awaiting",
        "running",
    ]
    assert await listing.names(queue=listing.queue, statuses=[]) == []
    (running,) = await listing.listed(queue=listing.queue, statuses=["running"])
    await backend.facts.replace_header(running, {**running.document, "status": "completed"})
    assert await listing.names(queue=listing.queue, statuses=["running"]) == []


async def test_headers_are_listed_by_when_they_were_written(
    listing: Listing, backend: BackendUnderTest
) -> None:
    old = await listing.add("old")
    await listing.add("touched")
    (touched,) = [stored for stored in await listing.listed() if stored.document["runId"].endswith("touched")]
    await backend.clock.tick(2.0)
    since = backend.clock.now() - timedelta(seconds=1)
    await backend.facts.replace_header(touched, {**touched.document, "status": "paused"})
    await listing.add("new")
    assert await listing.names(queue=listing.queue, changed_since=since) == ["new", "touched"]
    assert old.document["runId"]


async def test_a_header_written_in_the_second_asked_for_is_listed(
    listing: Listing, backend: BackendUnderTest
) -> None:
    await listing.add("now")
    since = backend.clock.now().replace(microsecond=0) - timedelta(seconds=1)
    assert await listing.names(queue=listing.queue, changed_since=since) == ["now"]


async def test_headers_are_listed_by_their_next_check(listing: Listing) -> None:
    await listing.add("past", nextCheck="2026-01-31T11:59:59.000Z")
    await listing.add("future", nextCheck="2026-01-31T12:00:01.000Z")
    await listing.add("null")
    assert await listing.names(queue=listing.queue, due_at=NOW) == ["past"]


@pytest.mark.parametrize(
    ("last_updated", "listed"),
    [
        ("2026-01-31T11:59:59.000Z", True),
        ("2026-01-31T12:00:01.000Z", False),
        ("2026-01-31T11:59:59Z", True),
        ("2026-01-31T11:59:59+00:00", True),
        ("2026-01-31T12:00:01+00:00", False),
        (NOW.timestamp() - 1, True),
        (NOW.timestamp() + 1, False),
        (int(NOW.timestamp()) * 1000 - 1000, True),
        (int(NOW.timestamp()) * 1000 + 1000, False),
    ],
)
async def test_headers_are_listed_by_when_they_were_touched_whatever_the_format(
    listing: Listing, last_updated: object, listed: bool
) -> None:
    await listing.add("a", lastUpdated=last_updated)
    assert await listing.names(queue=listing.queue, untouched_since=NOW) == (["a"] if listed else [])


async def test_headers_are_listed_by_their_expiry(listing: Listing) -> None:
    await listing.add("past", expiresAt="2026-01-31T11:59:59.000Z", status="completed")
    await listing.add("future", expiresAt="2026-01-31T12:00:01.000Z", status="completed")
    await listing.add("never", status="completed")
    assert await listing.names(queue=listing.queue, expired_at=NOW) == ["past"]


async def test_headers_are_listed_by_run(listing: Listing, run_id: str) -> None:
    for name in ("a", "b", "c"):
        await listing.add(name)
    wanted = [f"{run_id}-a", f"{run_id}-c", f"{run_id}-absent"]
    assert await listing.names(run_ids=wanted) == ["a", "c"]
    assert await listing.names(run_ids=wanted, queue=f"{listing.queue}-other") == []
    assert await listing.names(run_ids=[]) == []


async def test_conditions_are_joined_by_and(listing: Listing) -> None:
    due: dict[str, Any] = {"nextCheck": "2026-01-31T11:00:00.000Z"}
    await listing.add("wanted", status="awaiting", **due)
    await listing.add("other status", status="running", **due)
    await listing.add("not due", status="awaiting")
    await listing.add("other queue", status="awaiting", queue=f"{listing.queue}-other", **due)
    names = await listing.names(queue=listing.queue, statuses=["awaiting"], due_at=NOW, untouched_since=NOW)
    assert names == ["wanted"]


async def test_hundreds_of_headers_come_in_pages_each_once(listing: Listing) -> None:
    for number in range(450):
        await listing.add(f"{number:03}")
    assert await listing.names(queue=listing.queue) == [f"{number:03}" for number in range(450)]

"""Every event store does the same: memory, a SQLite file, and PostgreSQL where a server can be had."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.contract.event_stores import CONNINFO, postgres_programs, postgres_server
from tests.contract.manual_clock import ManualClock

from flowcraft import App, FlowRuntime, NodeContext
from flowcraft.event_bus import EventBus
from flowcraft.events import Event, NodeFinished, WorkflowFinished, WorkflowStarted
from flowcraft.extensions import Extensions
from flowcraft.history import MemoryEventStore, Retention, SqliteEventStore
from flowcraft.ports.errors import BackendUnavailableError
from flowcraft.ports.history import EventStore, HistoryStats

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Make(Protocol):
    """Opens the store under test; called twice, it opens the same one again."""

    def __call__(self, retention: Retention | None = None) -> EventStore: ...


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    given = os.environ.get(CONNINFO)
    if given:
        yield given
        return
    programs = postgres_programs()
    if programs is None:
        pytest.skip(f"no PostgreSQL is installed that may run here, and {CONNINFO} names no server")
    with postgres_server(programs) as conninfo:
        yield conninfo


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    opened: list[EventStore] = []
    memory: list[MemoryEventStore] = []
    table = f"events_{uuid.uuid4().hex}"

    def open_store(retention: Retention | None = None) -> EventStore:
        store: EventStore
        if request.param == "memory":
            if not memory:
                memory.append(MemoryEventStore(retention))
            store = memory[0]
        elif request.param == "sqlite":
            store = SqliteEventStore(tmp_path / "events.db", retention)
        else:
            from flowcraft_postgres import PostgresEventStore  # noqa: PLC0415  an optional part

            conninfo = request.getfixturevalue("postgres")
            store = PostgresEventStore(conninfo, table=table, retention=retention)
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        await store.close()


def event(run_id: str, number: int = 0, **fields: Any) -> NodeFinished:
    at = (NOON + timedelta(seconds=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return NodeFinished(execution_id=run_id, at=at, node_id="a", node_key="a", seq=number, **fields)


async def test_events_come_back_equal_and_in_order(make: Make) -> None:
    store = make()
    events: list[Event] = [event("one", number, output={"deep": [1, None, "é"]}) for number in range(5)]
    await store.store_many(events[:3])
    await store.store(events[3])
    await store.store_many(events[4:])
    assert await store.retrieve("one") == events
    assert await store.retrieve("unknown") == []


async def test_events_of_several_runs_are_retrieved_together(make: Make) -> None:
    store = make()
    await store.store_many([event("one", 1), event("two", 2), event("one", 3)])
    assert await store.retrieve_multiple(["two", "one", "none", "one"]) == {
        "two": [event("two", 2)],
        "one": [event("one", 1), event("one", 3)],
        "none": [],
    }
    assert await store.retrieve_multiple([]) == {}


async def test_an_event_may_be_kept_under_another_run(make: Make) -> None:
    store = make()
    await store.store(event("child"), "parent")
    assert await store.retrieve("parent") == [event("child")]
    assert await store.retrieve("child") == []


async def test_what_is_stored_is_there_when_it_is_opened_again(make: Make) -> None:
    first = make()
    await first.store(event("one"))
    second = make()
    assert await second.retrieve("one") == [event("one")]
    await second.store(event("one", 1))
    assert len(await first.retrieve("one")) == 2


async def test_stores_opened_together_share_what_they_make(make: Make) -> None:
    stores = [make() for _ in range(4)]
    await asyncio.gather(*(store.store(event("one", number)) for number, store in enumerate(stores)))
    assert len(await stores[0].retrieve("one")) == 4


async def test_it_tells_how_much_it_holds(make: Make) -> None:
    store = make()
    assert await store.stats() == HistoryStats(0, 0)
    await store.store_many([event("one", 0), event("two", 60)])
    assert await store.stats() == HistoryStats(2, 2, "2026-01-31T12:00:00.000Z", "2026-01-31T12:01:00.000Z")
    await store.clear()
    assert await store.stats() == HistoryStats(0, 0)


async def test_a_run_is_purged_as_a_whole_when_its_newest_event_is_old(make: Make) -> None:
    store = make()
    await store.store_many([event("old", 0), event("old", 10), event("young", 0), event("young", 100)])
    assert await store.purge(NOON + timedelta(seconds=50)) == 2
    assert await store.retrieve("old") == []
    assert len(await store.retrieve("young")) == 2


async def test_retention_purges_while_events_are_stored(make: Make) -> None:
    clock = ManualClock()
    store = make(Retention(3600, clock=clock, look_every_s=60))

    def now(run_id: str) -> Event:
        at = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return WorkflowStarted(execution_id=run_id, at=at)

    await store.store_many([now("first")])
    await clock.tick(3590)
    await store.store_many([now("second")])
    assert (await store.stats()).executions == 2
    await clock.tick(30)
    await store.store_many([now("third")])  # too early to look again
    assert (await store.stats()).executions == 3
    await clock.tick(40)
    await store.store_many([now("fourth")])
    assert await store.retrieve("first") == []
    assert (await store.stats()).executions == 3


async def test_a_run_that_was_stored_can_be_replayed(make: Make) -> None:
    store = make()
    app = App("kept")

    @app.node("a")
    async def a(ctx: NodeContext) -> int:
        await ctx.context.set("k", ctx.input)
        return 1

    flow = app.flow("f").node("a").node("b", uses="a").edge("a", "b").to_blueprint()
    bus = EventBus()
    bus.subscribe(store)
    runtime = FlowRuntime(registry=app.registry, extensions=Extensions(events=bus))
    result = await runtime.run(flow, {"x": 1})
    events = await store.retrieve(result.run_id)
    assert isinstance(events[-1], WorkflowFinished)
    again = runtime.replay(flow, events)
    assert (again.status, again.output, again.context) == ("completed", {"b": 1}, {"k": 1})


async def test_a_store_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    store = SqliteEventStore(tmp_path / "no" / "folder" / "events.db")
    with pytest.raises(BackendUnavailableError, match="unable to open"):
        await store.store(event("one"))


async def test_a_connection_that_was_lost_is_opened_anew(postgres: str) -> None:
    from psycopg import AsyncConnection  # noqa: PLC0415  an optional part

    from flowcraft_postgres import PostgresEventStore  # noqa: PLC0415

    store = PostgresEventStore(postgres, table=f"events_{uuid.uuid4().hex}")
    await store.store(event("one"))
    async with await AsyncConnection.connect(postgres, autocommit=True) as other:
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
    await store.store(event("one", 1))
    assert len(await store.retrieve("one")) == 2
    await store.close()
    gone = PostgresEventStore("host=/nonexistent user=nobody dbname=none connect_timeout=1")
    with pytest.raises(BackendUnavailableError, match="in PostgreSQL"):
        await gone.retrieve("one")

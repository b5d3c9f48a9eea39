"""What the contract does not see: requests, sessions, hand-written items, refusals."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import CosmosResourceNotFoundError
from azure.cosmos.partition_key import NonePartitionKeyValue
from tests.azure.scripted_service import CONTAINER, Reply, ScriptedService

from flowcraft.ports import Commit, ContextWrite, HeaderQuery
from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    ConflictError,
    PayloadTooLargeError,
    PortError,
    PreconditionFailedError,
)
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument
from flowcraft_azure import (
    AzureBackend,
    AzureSettings,
    CosmosDbContext,
    RequestCounter,
    open_azure,
    provision,
)
from flowcraft_azure.connections import cosmos_client
from flowcraft_azure.count import COSMOS

pytestmark = pytest.mark.emulators


def record(key: str, **changes: Any) -> NodeRecord:
    return dataclasses.replace(NodeRecord(key, key, "completed", output={"key": key}), **changes)


def header(run_id: str, **changes: Any) -> HeaderDocument:
    document: Any = {"id": run_id, "runId": run_id, "type": "header", "status": "running", **changes}
    return document  # type: ignore[no-any-return]


# ---- requests ----


async def test_each_call_is_one_request(backend: AzureBackend, counter: RequestCounter, run_id: str) -> None:
    facts = backend.facts
    stored = await facts.create_header(header(run_id))
    await facts.commit(run_id, Commit(create=[record("warm up")]))

    async def costs(work: Awaitable[Any], expected: dict[str, int]) -> Any:
        counter.clear()
        result = await work
        assert counter.by_operation(COSMOS) == expected
        return result

    await costs(facts.commit(run_id, Commit(create=[record("a")])), {"Create contexts": 1})
    many = Commit(create=[record("b"), record("c")], context=[ContextWrite(f"k{i}", i) for i in range(500)])
    session = await costs(facts.commit(run_id, many), {"Batch contexts": 1})
    await costs(facts.load(run_id, nodes=["a"], session=session), {"Read contexts": 1})
    nodes, keys = [f"n{i}" for i in range(200)], [f"k{i}" for i in range(200)]
    await costs(facts.load(run_id, nodes=nodes, context=keys, session=session), {"SqlQuery contexts": 1})
    await costs(facts.load(run_id), {})
    await costs(facts.resolved(run_id, nodes, session), {"SqlQuery contexts": 1})
    await costs(facts.read_header(run_id), {"Read statuses": 1})
    await costs(facts.replace_header(stored, header(run_id, status="awaiting")), {"Replace statuses": 1})


async def test_a_commit_of_nothing_sends_nothing(
    backend: AzureBackend, counter: RequestCounter, run_id: str
) -> None:
    assert await backend.facts.commit(run_id, Commit(), "0:1") == "0:1"
    assert counter.total(COSMOS) == 0


async def test_thousands_of_items_are_asked_for_in_pieces(
    backend: AzureBackend, counter: RequestCounter, run_id: str
) -> None:
    for start in range(0, 1200, 100):
        await backend.facts.commit(
            run_id, Commit(create=[record(f"n{i}") for i in range(start, start + 100)])
        )
    counter.clear()
    names = [f"n{i}" for i in range(1200)]
    assert len((await backend.facts.load(run_id, nodes=names)).records) == 1200
    assert len(await backend.facts.resolved(run_id, names)) == 1200
    assert counter.by_operation(COSMOS) == {"SqlQuery contexts": 6}


# ---- sessions ----


async def test_a_read_passes_the_session_it_was_given(service: ScriptedService) -> None:
    service.answer("GET", "/docs/", Reply(404))
    service.answer("POST", "/docs", Reply(200, {"Documents": []}))
    async with open_azure(scripted(service)) as backend:
        await backend.facts.load("r", nodes=["a"], session="0:-1#17")
        await backend.facts.load("r", nodes=["a", "b"], session="0:-1#18")
        await backend.facts.resolved("r", ["a", "b"], "0:-1#19")
        sent = [
            (method, headers["x-ms-session-token"])
            for method, path, headers in service.requests
            if "/docs" in path
        ]
    assert sent == [("GET", "0:-1#17"), ("POST", "0:-1#18"), ("POST", "0:-1#19")]


async def test_of_commits_side_by_side_a_later_answer_never_proves_less(
    backend: AzureBackend, run_id: str
) -> None:
    answered: list[int] = []

    async def one(number: int) -> None:
        token = await backend.facts.commit(run_id, Commit(create=[record(f"n{number}")]))
        answered.append(int(token.rsplit("#", 1)[1]))

    await asyncio.gather(*(one(number) for number in range(40)))
    assert answered == sorted(answered)
    assert answered[-1] >= 40


# ---- items of hand-written clients ----


@pytest.fixture
async def client(settings: AzureSettings) -> Any:
    async with cosmos_client(settings) as opened:
        yield opened


def containers(client: CosmosClient, settings: AzureSettings) -> tuple[ContainerProxy, ContainerProxy]:
    database = client.get_database_client(settings.cosmos_database)
    return database.get_container_client("contexts"), database.get_container_client("statuses")


async def listed(backend: AzureBackend, query: HeaderQuery) -> list[str]:
    return [stored.document["id"] async for page in backend.facts.headers(query) for stored in page]


async def test_items_without_partition_key_are_adopted_once(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    contexts, statuses = containers(client, settings)
    await contexts.create_item({"id": run_id, "x": 1, "type": "n"})
    await statuses.create_item({"id": run_id, "status": "running", "lastUpdated": 1_700_000_000})
    assert await listed(backend, HeaderQuery(queue="any")) == [run_id]

    adopted = await asyncio.gather(*(backend.facts.read_header(run_id) for _ in range(5)))
    stored = adopted[0]
    assert stored is not None
    assert {item.etag for item in adopted if item} == {stored.etag}
    assert stored.document["status"] == "running"
    assert (await backend.facts.load(run_id, with_input=True)).input == {"x": 1, "type": "n"}
    assert [page async for page in backend.facts.records(run_id)] == []
    assert await listed(backend, HeaderQuery()) == [run_id]


async def test_the_original_is_told_the_end(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    _, statuses = containers(client, settings)
    await statuses.create_item({"id": run_id, "status": "running", "lastUpdated": 1, "owner": "me"})
    stored = await backend.facts.read_header(run_id)
    assert stored is not None
    running = await backend.facts.replace_header(stored, header(run_id, adopted=True, queue="q"))
    original = await statuses.read_item(run_id, NonePartitionKeyValue)
    assert original["status"] == "running"
    await backend.facts.replace_header(running, header(run_id, adopted=True, status="failed"))
    original = await statuses.read_item(run_id, NonePartitionKeyValue)
    assert (original["status"], original["owner"]) == ("failed", "me")


async def test_an_original_that_was_not_told_is_told_when_the_end_is_read_again(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    _, statuses = containers(client, settings)
    await statuses.create_item({"id": run_id, "status": "running"})
    await statuses.create_item(dict(header(run_id, adopted=True, status="completed")))
    await backend.facts.read_header(run_id)
    original = await statuses.read_item(run_id, NonePartitionKeyValue)
    assert original["status"] == "completed"


async def test_purging_an_adopted_run_takes_its_originals_too(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    contexts, statuses = containers(client, settings)
    await contexts.create_item({"id": run_id, "x": 1})
    await statuses.create_item({"id": run_id, "status": "running"})
    await backend.facts.read_header(run_id)
    for start in range(0, 250, 50):
        await backend.facts.commit(run_id, Commit(create=[record(f"n{start + i}") for i in range(50)]))
    await backend.facts.purge(run_id)
    assert await backend.facts.read_header(run_id) is None
    for container in (contexts, statuses):
        with pytest.raises(CosmosResourceNotFoundError):
            await container.read_item(run_id, NonePartitionKeyValue)
    assert [item async for item in contexts.query_items("SELECT c.id FROM c", partition_key=run_id)] == []


async def test_a_context_item_with_the_run_id_is_the_input(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    contexts, _ = containers(client, settings)
    await contexts.create_item({"id": run_id, "runId": run_id, "x": 1})
    assert (await backend.facts.load(run_id, with_input=True)).input == {"x": 1}


async def test_a_start_that_died_before_its_header_does_not_keep_its_input(
    backend: AzureBackend, run_id: str
) -> None:
    with pytest.raises(PayloadTooLargeError):
        await backend.facts.create_header(header(run_id, message="x" * 2_100_000), {"x": 1})
    await backend.facts.create_header(header(run_id), {"x": 2})
    with pytest.raises(ConflictError):
        await backend.facts.create_header(header(run_id), {"x": 3})
    assert (await backend.facts.load(run_id, with_input=True)).input == {"x": 2}


# ---- the context of a run from outside ----


async def test_the_context_has_input_and_keys_and_takes_writes(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    await backend.facts.create_header(header(run_id, input={"amount": 1, "who": "ada"}))
    pack = [ContextWrite("who", "bob"), *(ContextWrite(f"k{i}", i) for i in range(100))]
    await backend.facts.commit(run_id, Commit(create=[record("a")], context=pack, seq=5))
    context = CosmosDbContext(run_id, client=client, cosmos_database_name=settings.cosmos_database)
    assert await context.get("amount") == 1
    assert await context.get("who") == "bob"
    await context.set("who", "eve")
    await context.set("new", None)
    await context.delete("k3")
    assert await context.get("who") == "eve"
    assert await context.has("new")
    assert not await context.has("k3")
    assert len(await context.to_json()) == 102
    loaded = await backend.facts.load(run_id, context=["who", "k3", "k4"])
    assert loaded.context == {"who": "eve", "k4": 4}


async def test_the_context_has_outputs_of_nodes_and_nothing_that_was_deleted(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    await backend.facts.create_header(header(run_id, input={"amount": 1, "a": "of the input"}))
    records = [record("a", output={"n": 1}), record("b", output=2)]
    writes = [ContextWrite("b", "written"), ContextWrite("amount", deleted=True)]
    await backend.facts.commit(run_id, Commit(create=records, context=writes, seq=5))
    context = CosmosDbContext(run_id, client=client, cosmos_database_name=settings.cosmos_database)
    assert [await context.get(key) for key in ("a", "_outputs.a", "b", "_outputs.b")] == [
        {"n": 1}, {"n": 1}, "written", 2,
    ]  # fmt: skip
    assert not await context.has("amount")
    assert not await context.has("_outputs.amount")
    assert await context.to_json() == {"a": "of the input", "b": "written"}


async def test_keys_of_the_engine_itself_are_not_shown(
    backend: AzureBackend, settings: AzureSettings, client: CosmosClient, run_id: str
) -> None:
    await backend.facts.create_header(header(run_id, input={"amount": 1}))
    large = record("a", output={"text": "x" * 200_000})
    writes = [ContextWrite("who", "bob"), ContextWrite("_loop.exit.4", {"taken": True, "rounds": [2]})]
    await backend.facts.commit(run_id, Commit(create=[large], context=writes, seq=5))
    context = CosmosDbContext(run_id, client=client, cosmos_database_name=settings.cosmos_database)
    assert await context.to_json() == {"amount": 1, "who": "bob"}


# ---- refusals ----


def scripted(service: ScriptedService) -> AzureSettings:
    return AzureSettings(
        queue="orders",
        queue_connection_string=f"AccountName=a;AccountKey=c2VjcmV0;QueueEndpoint={service.url}a",
        cosmos_endpoint=service.url,
        cosmos_key="c2VjcmV0",
        redis_url="redis://127.0.0.1:1",
    )


async def test_what_lacks_is_said_and_found_once_it_is_there(
    unprovisioned: AzureSettings, run_id: str
) -> None:
    async with open_azure(unprovisioned) as backend:
        with pytest.raises(BackendRefusedError, match=r"container statuses of database .* provision"):
            await backend.facts.read_header(run_id)
        with pytest.raises(BackendRefusedError, match=r"container contexts of database .* provision"):
            await backend.facts.commit(run_id, Commit(create=[record("a")]))
        await provision(unprovisioned)
        assert await backend.facts.read_header(run_id) is None
        await backend.facts.commit(run_id, Commit(create=[record("a")]))


async def test_an_account_that_is_away_is_asked_again_at_each_use(service: ScriptedService) -> None:
    service.answer("GET", "/docs/", Reply(404))
    service.answer("GET", "/", Reply(503))
    async with open_azure(scripted(service)) as backend:
        with pytest.raises(BackendUnavailableError, match="account"):
            await backend.facts.read_header("r")
        service.answer("GET", "/", Reply(401))
        with pytest.raises(BackendRefusedError, match="account"):
            await backend.facts.read_header("r")
        service.answer("GET", "/", Reply(200, CONTAINER))
        service.answer("GET", "/docs/", Reply(404))
        assert await backend.facts.read_header("r") is None


@pytest.mark.parametrize(
    ("reply", "expected", "retry_after_s"),
    [
        (Reply(503), BackendUnavailableError, None),
        (Reply(429, headers={"x-ms-retry-after-ms": "1"}), BackendUnavailableError, 0.001),
        (Reply(449, headers={"x-ms-retry-after-ms": "20"}), BackendUnavailableError, 0.02),
        (Reply(413), PayloadTooLargeError, None),
        (Reply(403, headers={"x-ms-substatus": "1014"}), PayloadTooLargeError, None),
        (Reply(403), BackendRefusedError, None),
        (Reply(404, headers={"x-ms-substatus": "1003"}), BackendRefusedError, None),
        (Reply(409), ConflictError, None),
    ],
)
@pytest.mark.parametrize("context", [(), (ContextWrite("k", 1),)])
async def test_a_refused_commit_is_told_by_what_to_do(
    service: ScriptedService,
    reply: Reply,
    expected: type[PortError],
    retry_after_s: float | None,
    context: tuple[ContextWrite, ...],
) -> None:
    if context and reply.status == 409:
        reply = Reply(207, [{"statusCode": 409}, {"statusCode": 424}])
    service.answer("POST", "/docs", reply)
    async with open_azure(scripted(service)) as backend:
        with pytest.raises(expected) as caught:
            await backend.facts.commit("r", Commit(create=[record("a")], context=context))
        assert getattr(caught.value, "retry_after_s", None) == retry_after_s


@pytest.mark.parametrize("status", [404, 412])
async def test_a_changed_record_is_told_whether_alone_or_in_a_batch(
    service: ScriptedService, backend: AzureBackend, run_id: str, status: int
) -> None:
    await backend.facts.commit(run_id, Commit(create=[record("a", status="awaiting", kind="wait")]))
    before = (await backend.facts.load(run_id, nodes=["a"])).records["a"]
    service.answer("PUT", "/docs/", Reply(status))
    batch = [{"statusCode": 424}, {"statusCode": status}, {"statusCode": 424}]
    service.answer("POST", "/docs", Reply(207, batch))
    async with open_azure(scripted(service)) as refused:
        with pytest.raises(PreconditionFailedError):
            await refused.facts.commit(run_id, Commit(replace=(before, record("a"))))
        commit = Commit(create=[record("b")], replace=(before, record("a")), context=[ContextWrite("k", 1)])
        with pytest.raises(PreconditionFailedError):
            await refused.facts.commit(run_id, commit)


Work = Callable[[AzureBackend], Awaitable[object]]


@pytest.mark.parametrize(
    "work",
    [
        lambda backend: backend.facts.read_header("r"),
        lambda backend: backend.facts.commit("r", Commit(create=[record("a")])),
        lambda backend: backend.queue.receive(1, 30.0),
        lambda backend: backend.queue.send("{}"),
        lambda backend: backend.queue.depth(),
    ],
)
async def test_a_service_that_cannot_be_reached_is_unavailable(settings: AzureSettings, work: Work) -> None:
    nowhere = dataclasses.replace(
        settings,
        cosmos_endpoint="https://127.0.0.1:1/",
        queue_connection_string="AccountName=a;AccountKey=c2VjcmV0;QueueEndpoint=http://127.0.0.1:1/a",
    )
    async with open_azure(nowhere) as backend:
        with pytest.raises(BackendUnavailableError, match="cannot be reached"):
            await work(backend)

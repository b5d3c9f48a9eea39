"""What the project relies on of Cosmos DB, asked of the stand-in through the real SDK.

Most of these are places where the third-party package under the stand-in departs from the service; they are
written for the service, so the vendor's emulator or a real account can be asked the same.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.cosmos import PartitionKey
from azure.cosmos.aio import ContainerProxy, CosmosClient, DatabaseProxy
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)
from azure.cosmos.partition_key import NonePartitionKeyValue
from tests.emulators.stand_ins import StandIns

pytestmark = pytest.mark.emulators

SMALL, LARGE = 100, 20_000
BATCH_LIMIT = 100
MEBIBYTE = 1024 * 1024
WRONG_KEY = "AccountKey=d3Jvbmc="
# The SDK's transport warns when it is handed more than a megabyte.
LARGE_BODY = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


def connect(connection_string: str) -> CosmosClient:
    return CosmosClient.from_connection_string(
        connection_string, connection_verify=False, enable_endpoint_discovery=False
    )


@pytest.fixture
async def database(stand_ins: StandIns, unique_name: str) -> AsyncIterator[DatabaseProxy]:
    async with connect(stand_ins.cosmos_connection_string) as client:
        created = await client.create_database(unique_name)
        yield created
        await client.delete_database(unique_name)


@pytest.fixture
async def container(database: DatabaseProxy) -> ContainerProxy:
    return await database.create_container("facts", partition_key=PartitionKey("/runId"))


async def select(container: ContainerProxy, query: str, **options: Any) -> list[Any]:
    return [item async for item in container.query_items(query, **options)]


async def documents_of(container: ContainerProxy, run_id: str) -> list[Any]:
    return await select(container, "SELECT c.id, c.n FROM c ORDER BY c.id", partition_key=run_id)


class TestPointOperations:
    async def test_a_second_create_of_an_id_conflicts(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "a", "runId": "r"})
        with pytest.raises(CosmosResourceExistsError):
            await container.create_item({"id": "a", "runId": "r"})

    async def test_the_same_id_lives_in_two_partitions(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "a", "runId": "r", "n": 1})
        await container.create_item({"id": "a", "runId": "s", "n": 2})
        assert (await container.read_item("a", "r"))["n"] == 1
        assert (await container.read_item("a", "s"))["n"] == 2

    @pytest.mark.parametrize(
        "attempt",
        [
            lambda c: c.read_item("missing", "r"),
            lambda c: c.replace_item("missing", {"id": "missing", "runId": "r"}),
            lambda c: c.delete_item("missing", "r"),
            lambda c: c.patch_item("missing", "r", [{"op": "set", "path": "/n", "value": 1}]),
        ],
        ids=["read", "replace", "delete", "patch"],
    )
    async def test_a_missing_document_is_not_found(
        self, container: ContainerProxy, attempt: Callable[[ContainerProxy], Awaitable[object]]
    ) -> None:
        with pytest.raises(CosmosResourceNotFoundError):
            await attempt(container)

    async def test_a_document_is_not_found_in_another_partition(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "a", "runId": "r"})
        with pytest.raises(CosmosResourceNotFoundError):
            await container.read_item("a", "s")

    async def test_a_missing_container_is_not_found(self, database: DatabaseProxy) -> None:
        missing = database.get_container_client("missing")
        with pytest.raises(CosmosResourceNotFoundError):
            await missing.upsert_item({"id": "a", "runId": "r"})

    @pytest.mark.parametrize(
        "attempt",
        [
            lambda c, match: c.replace_item("a", {"id": "a", "runId": "r", "n": 2}, **match),
            lambda c, match: c.upsert_item({"id": "a", "runId": "r", "n": 2}, **match),
            lambda c, match: c.patch_item("a", "r", [{"op": "set", "path": "/n", "value": 2}], **match),
            lambda c, match: c.delete_item("a", "r", **match),
        ],
        ids=["replace", "upsert", "patch", "delete"],
    )
    async def test_a_write_with_an_old_etag_fails_and_with_the_current_one_succeeds(
        self,
        container: ContainerProxy,
        attempt: Callable[[ContainerProxy, dict[str, Any]], Awaitable[object]],
    ) -> None:
        old = await container.create_item({"id": "a", "runId": "r", "n": 0})
        new = await container.replace_item("a", {"id": "a", "runId": "r", "n": 1})
        condition = MatchConditions.IfNotModified
        with pytest.raises(CosmosAccessConditionFailedError):
            await attempt(container, {"etag": old["_etag"], "match_condition": condition})
        assert (await container.read_item("a", "r"))["n"] == 1
        await attempt(container, {"etag": new["_etag"], "match_condition": condition})

    async def test_a_document_of_another_partition_than_the_request_names_is_refused(
        self, container: ContainerProxy
    ) -> None:
        with pytest.raises(CosmosBatchOperationError) as caught:
            await container.execute_item_batch([("create", ({"id": "a", "runId": "s"},))], partition_key="r")
        assert caught.value.status_code == 400

    async def test_a_write_answers_with_a_session_token_that_grows(self, container: ContainerProxy) -> None:
        first = await container.create_item({"id": "a", "runId": "r"})
        second = await container.upsert_item({"id": "a", "runId": "r"})
        numbers = [
            int(answer.get_response_headers()["x-ms-session-token"].split("#")[1])
            for answer in (first, second)
        ]
        assert numbers == sorted(set(numbers))

    async def test_a_write_without_response_answers_with_the_etag_alone(
        self, container: ContainerProxy
    ) -> None:
        answer = await container.create_item({"id": "a", "runId": "r"}, no_response=True)
        assert dict(answer) == {}
        stored = await container.read_item("a", "r")
        assert answer.get_response_headers()["etag"] == stored["_etag"]

    async def test_documents_survive_a_change_of_the_containers_properties(
        self, database: DatabaseProxy, container: ContainerProxy
    ) -> None:
        await container.create_item({"id": "a", "runId": "r"})
        await database.replace_container(container, partition_key=PartitionKey("/runId"), default_ttl=-1)
        assert (await container.read_item("a", "r"))["id"] == "a"

    async def test_a_container_made_anew_is_empty(self, database: DatabaseProxy) -> None:
        for _ in range(2):
            container = await database.create_container("again", partition_key=PartitionKey("/runId"))
            await container.create_item({"id": "a", "runId": "r"})
            await database.delete_container(container)

    async def test_a_wrong_key_is_refused(self, stand_ins: StandIns) -> None:
        connection_string = re.sub("AccountKey=[^;]*", WRONG_KEY, stand_ins.cosmos_connection_string)
        client = connect(connection_string)
        try:
            # Not `async with`: the SDK leaves its connection open when entering fails.
            with pytest.raises(CosmosHttpResponseError) as caught:
                await client.__aenter__()
        finally:
            await client.close()
        assert caught.value.status_code == 401


class TestNonePartition:
    async def test_a_document_without_the_key_can_be_read_replaced_patched_and_deleted(
        self, container: ContainerProxy
    ) -> None:
        await container.create_item({"id": "a", "n": 1})
        assert (await container.read_item("a", NonePartitionKeyValue))["n"] == 1
        await container.replace_item("a", {"id": "a", "n": 2})
        patch = [{"op": "incr", "path": "/n", "value": 1}]
        assert (await container.patch_item("a", NonePartitionKeyValue, patch))["n"] == 3
        await container.delete_item("a", NonePartitionKeyValue)
        with pytest.raises(CosmosResourceNotFoundError):
            await container.read_item("a", NonePartitionKeyValue)

    async def test_it_is_another_partition_than_that_of_the_id(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "a", "n": 1})
        await container.create_item({"id": "a", "runId": "a", "n": 2})
        assert await documents_of(container, "a") == [{"id": "a", "n": 2}]
        assert await select(container, "SELECT VALUE c.n FROM c ORDER BY c.n") == [1, 2]


class TestBatch:
    async def test_every_kind_of_operation_is_done_in_order(self, container: ContainerProxy) -> None:
        for name in ("replaced", "patched", "deleted"):
            await container.create_item({"id": name, "runId": "r", "n": 0})
        answers = await container.execute_item_batch(
            [
                ("create", ({"id": "created", "runId": "r", "n": 1},)),
                ("upsert", ({"id": "upserted", "runId": "r", "n": 2},)),
                ("replace", ("replaced", {"id": "replaced", "runId": "r", "n": 3})),
                ("patch", ("patched", [{"op": "set", "path": "/n", "value": 4}])),
                ("delete", ("deleted",)),
                ("read", ("created",)),
            ],
            partition_key="r",
        )
        assert [answer["statusCode"] for answer in answers] == [201, 201, 200, 200, 204, 200]
        assert answers[5]["resourceBody"]["n"] == 1
        assert answers[5]["eTag"] == answers[5]["resourceBody"]["_etag"]
        assert await documents_of(container, "r") == [
            {"id": "created", "n": 1},
            {"id": "patched", "n": 4},
            {"id": "replaced", "n": 3},
            {"id": "upserted", "n": 2},
        ]

    @pytest.mark.parametrize(
        ("failing", "status"),
        [
            (("create", ({"id": "kept", "runId": "r"},)), 409),
            (("read", ("missing",)), 404),
            (("replace", ("missing", {"id": "missing", "runId": "r"})), 404),
            (("delete", ("missing",)), 404),
            (("replace", ("kept", {"id": "kept", "runId": "r"}), {"if_match_etag": "old"}), 412),
            (("upsert", ({"id": "kept", "runId": "r"},), {"if_match_etag": "old"}), 412),
            (("delete", ("kept",), {"if_match_etag": "old"}), 412),
            (("patch", ("kept", [{"op": "replace", "path": "/none", "value": 1}])), 400),
            (
                (
                    "patch",
                    ("kept", [{"op": "set", "path": "/n", "value": 1}]),
                    {"filter_predicate": "from c where c.n = 1"},
                ),
                412,
            ),
        ],
    )
    async def test_a_failed_operation_undoes_those_before_and_stops_those_after(
        self, container: ContainerProxy, failing: tuple[Any, ...], status: int
    ) -> None:
        for name in ("kept", "patched", "deleted"):
            await container.create_item({"id": name, "runId": "r", "n": 0})
        before = [await container.read_item(name, "r") for name in ("deleted", "kept", "patched")]
        with pytest.raises(CosmosBatchOperationError) as caught:
            await container.execute_item_batch(
                [
                    ("create", ({"id": "new", "runId": "r"},)),
                    ("patch", ("patched", [{"op": "incr", "path": "/n", "value": 1}])),
                    ("patch", ("patched", [{"op": "incr", "path": "/n", "value": 1}])),
                    ("delete", ("deleted",)),
                    failing,
                    ("create", ({"id": "late", "runId": "r"},)),
                ],
                partition_key="r",
            )
        assert caught.value.error_index == 4
        statuses = [answer["statusCode"] for answer in caught.value.operation_responses]
        assert statuses == [424, 424, 424, 424, status, 424]
        assert await select(container, "SELECT * FROM c ORDER BY c.id", partition_key="r") == before

    async def test_an_operation_sees_the_writes_before_it(self, container: ContainerProxy) -> None:
        answers = await container.execute_item_batch(
            [
                ("create", ({"id": "a", "runId": "r", "n": 1},)),
                ("patch", ("a", [{"op": "incr", "path": "/n", "value": 1}])),
                ("read", ("a",)),
            ],
            partition_key="r",
        )
        assert answers[2]["resourceBody"]["n"] == 2

    async def test_a_matching_etag_lets_a_batch_through(self, container: ContainerProxy) -> None:
        etag = (await container.create_item({"id": "a", "runId": "r", "n": 0}))["_etag"]
        replacement = ("replace", ("a", {"id": "a", "runId": "r", "n": 1}), {"if_match_etag": etag})
        await container.execute_item_batch([replacement], partition_key="r")
        assert (await container.read_item("a", "r"))["n"] == 1

    async def test_it_works_in_the_none_partition(self, container: ContainerProxy) -> None:
        await container.execute_item_batch(
            [("create", ({"id": "a", "n": 1},)), ("create", ({"id": "b", "n": 2},))],
            partition_key=NonePartitionKeyValue,
        )
        assert (await container.read_item("b", NonePartitionKeyValue))["n"] == 2

    async def test_more_than_a_hundred_operations_are_refused(self, container: ContainerProxy) -> None:
        creates = [("create", ({"id": str(n), "runId": "r"},)) for n in range(BATCH_LIMIT + 1)]
        with pytest.raises(CosmosHttpResponseError) as caught:
            await container.execute_item_batch(creates, partition_key="r")
        assert caught.value.status_code == 400
        await container.execute_item_batch(creates[:BATCH_LIMIT], partition_key="r")

    @LARGE_BODY
    async def test_more_than_two_megabytes_are_refused(self, container: ContainerProxy) -> None:
        halves = [("create", ({"id": str(n), "runId": "r", "x": "x" * MEBIBYTE},)) for n in range(2)]
        with pytest.raises(CosmosHttpResponseError) as caught:
            await container.execute_item_batch(halves, partition_key="r")
        assert caught.value.status_code == 413


class TestPatch:
    async def test_every_kind_of_operation(self, container: ContainerProxy) -> None:
        await container.create_item(
            {
                "id": "a",
                "runId": "r",
                "gone": 1,
                "old": 1,
                "n": 40,
                "from": {"x": 1},
                "list": [1, 3],
                "a/b": 0,
            }
        )
        patched = await container.patch_item(
            "a",
            "r",
            [
                {"op": "set", "path": "/new", "value": {"deep": [1]}},
                {"op": "add", "path": "/list/1", "value": 2},
                {"op": "add", "path": "/list/-", "value": 4},
                {"op": "set", "path": "/list/0", "value": 0},
                {"op": "replace", "path": "/old", "value": 2},
                {"op": "remove", "path": "/gone"},
                {"op": "incr", "path": "/n", "value": 2},
                {"op": "incr", "path": "/fresh", "value": 1},
                {"op": "move", "from": "/from", "path": "/new/to"},
                {"op": "set", "path": "/a~1b", "value": 1},
            ],
        )
        content = {name: value for name, value in patched.items() if not name.startswith("_")}
        assert content == {
            "id": "a",
            "runId": "r",
            "old": 2,
            "n": 42,
            "fresh": 1,
            "new": {"deep": [1], "to": {"x": 1}},
            "list": [0, 2, 3, 4],
            "a/b": 1,
        }

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "replace", "path": "/missing", "value": 1},
            {"op": "remove", "path": "/missing"},
            {"op": "set", "path": "/missing/deep", "value": 1},
            {"op": "incr", "path": "/text", "value": 1},
            {"op": "add", "path": "/list/9", "value": 1},
            {"op": "set", "path": "/_etag", "value": "x"},
            {"op": "set", "path": "/id", "value": "b"},
            {"op": "set", "path": "/runId", "value": "s"},
        ],
        ids=lambda operation: f"{operation['op']} {operation['path']}",
    )
    async def test_what_cannot_be_done_changes_nothing(
        self, container: ContainerProxy, operation: dict[str, Any]
    ) -> None:
        before = await container.create_item({"id": "a", "runId": "r", "text": "x", "list": []})
        with pytest.raises(CosmosHttpResponseError) as caught:
            await container.patch_item("a", "r", [{"op": "set", "path": "/n", "value": 1}, operation])
        assert caught.value.status_code == 400
        assert await container.read_item("a", "r") == before

    async def test_a_path_that_begins_with_an_underscore_is_the_clients_own(
        self, container: ContainerProxy
    ) -> None:
        await container.create_item({"id": "a", "runId": "r", "_seen": {"x": 1}})
        patched = await container.patch_item("a", "r", [{"op": "set", "path": "/_seen/y", "value": 2}])
        assert patched["_seen"] == {"x": 1, "y": 2}

    async def test_more_than_ten_operations_are_refused(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "a", "runId": "r"})
        operations = [{"op": "set", "path": f"/p{n}", "value": n} for n in range(11)]
        with pytest.raises(CosmosHttpResponseError) as caught:
            await container.patch_item("a", "r", operations)
        assert caught.value.status_code == 400

    @pytest.mark.parametrize(
        ("predicate", "holds"),
        [
            ("from c where c.status = 'Running'", True),
            ("from c where c.status = 'running'", False),
            ("FROM c WHERE NOT IS_DEFINED(c.camelCase)", False),
            ("FROM c WHERE c.camelCase > 1 AND c.status IN ('Running', 'Paused')", True),
            ("from c where c.id = 'other'", False),
        ],
    )
    async def test_a_predicate_is_evaluated_as_written_on_the_addressed_document(
        self, container: ContainerProxy, predicate: str, holds: bool
    ) -> None:
        await container.create_item({"id": "a", "runId": "r", "status": "Running", "camelCase": 2})
        await container.create_item({"id": "other", "runId": "r", "status": "running"})
        patch = [{"op": "set", "path": "/status", "value": "Done"}]
        if holds:
            assert (await container.patch_item("a", "r", patch, filter_predicate=predicate))[
                "status"
            ] == "Done"
        else:
            with pytest.raises(CosmosAccessConditionFailedError):
                await container.patch_item("a", "r", patch, filter_predicate=predicate)
            assert (await container.read_item("a", "r"))["status"] == "Running"


class TestQuery:
    async def test_a_query_with_a_partition_key_sees_that_partition_only(
        self, container: ContainerProxy
    ) -> None:
        for run_id in ("r", "s"):
            await container.create_item({"id": f"a-{run_id}", "runId": run_id, "n": 1})
        query = "SELECT VALUE c.id FROM c WHERE c.n = @n"
        parameters: list[dict[str, object]] = [{"name": "@n", "value": 1}]
        found = await select(container, query, parameters=parameters, partition_key="r")
        assert found == ["a-r"]

    async def test_a_query_across_partitions_is_ordered_and_paged(self, container: ContainerProxy) -> None:
        numbers = [(7 * n) % 23 for n in range(23)]
        for n in numbers:
            await container.create_item({"id": f"{n}", "runId": f"r{n % 5}", "n": n})
        pages = container.query_items(
            "SELECT VALUE c.n FROM c WHERE c.n < 20 ORDER BY c.n DESC", max_item_count=6
        ).by_page()
        found: list[list[Any]] = [[n async for n in page] async for page in pages]
        assert [n for page in found for n in page] == list(range(19, -1, -1))
        assert max(len(page) for page in found) <= 6

    async def test_pages_of_a_partition_are_complete(self, container: ContainerProxy) -> None:
        # More than 255 documents, whose resource ids need a second byte: pages go by their order.
        names = [f"{n:04}" for n in range(600)]
        for start in range(0, len(names), BATCH_LIMIT):
            chunk = names[start : start + BATCH_LIMIT]
            creates = [("create", ({"id": name, "runId": "r"},)) for name in chunk]
            await container.execute_item_batch(creates, partition_key="r")
        await container.upsert_item({"id": names[0], "runId": "r"})
        found = await select(container, "SELECT VALUE c.id FROM c", partition_key="r", max_item_count=70)
        assert sorted(found) == names

    async def test_aggregates_and_tops(self, container: ContainerProxy) -> None:
        for n in range(5):
            await container.create_item({"id": f"{n}", "runId": "r", "n": n})
        count = "SELECT VALUE COUNT(1) FROM c WHERE c.n > 1"
        assert await select(container, count, partition_key="r") == [3]
        top = "SELECT TOP 2 VALUE c.n FROM c ORDER BY c.n DESC"
        assert await select(container, top, partition_key="r") == [4, 3]

    async def test_a_malformed_query_is_refused(self, container: ContainerProxy) -> None:
        with pytest.raises(CosmosHttpResponseError) as caught:
            await select(container, "SELECT FROM WHERE", partition_key="r")
        assert caught.value.status_code == 400


@LARGE_BODY
class TestLimits:
    async def test_an_item_over_two_megabytes_is_refused(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "a", "runId": "r", "x": "x" * (2 * MEBIBYTE - 2048)})
        for content in ("x" * 2 * MEBIBYTE, "é" * MEBIBYTE):
            with pytest.raises(CosmosHttpResponseError) as caught:
                await container.upsert_item({"id": "b", "runId": "r", "x": content})
            assert caught.value.status_code == 413

    async def test_a_patch_cannot_grow_an_item_over_two_megabytes(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "a", "runId": "r", "x": "x" * (2 * MEBIBYTE - 2048)})
        with pytest.raises(CosmosHttpResponseError) as caught:
            await container.patch_item("a", "r", [{"op": "set", "path": "/y", "value": "y" * 4096}])
        assert caught.value.status_code == 413


class TestTimeToLive:
    async def test_an_item_is_gone_after_its_time_and_may_be_created_again(
        self, database: DatabaseProxy
    ) -> None:
        container = await database.create_container(
            "leases", partition_key=PartitionKey("/runId"), default_ttl=-1
        )
        await container.create_item({"id": "short", "runId": "r", "n": 1, "ttl": 1})
        await container.create_item({"id": "long", "runId": "r", "n": 2})
        deadline = time.monotonic() + 10
        while len(await documents_of(container, "r")) > 1:
            assert time.monotonic() < deadline
        assert await documents_of(container, "r") == [{"id": "long", "n": 2}]
        with pytest.raises(CosmosResourceNotFoundError):
            await container.read_item("short", "r")
        await container.create_item({"id": "short", "runId": "r"})

    async def test_it_is_off_unless_the_container_has_it(self, container: ContainerProxy) -> None:
        await container.create_item({"id": "short", "runId": "r", "ttl": 1})
        item = await container.read_item("short", "r")
        deadline = time.monotonic() + 10
        while time.time() < item["_ts"] + 1:
            assert time.monotonic() < deadline
            await container.read_item("short", "r")
        assert (await container.read_item("short", "r"))["id"] == "short"


class TestCost:
    async def test_batch_and_partition_query_cost_the_same_in_a_large_container(
        self, container: ContainerProxy
    ) -> None:
        # Aim: within 20 %. The bound is wider because the machine may be shared; a cost that grows with the
        # container would be many times higher at 200 times the documents.
        await fill(container, 0, SMALL)
        small = await batch_cost(container, "small"), await query_cost(container)
        await fill(container, SMALL, LARGE)
        large = await batch_cost(container, "large"), await query_cost(container)
        ratios = [after / before for before, after in zip(small, large, strict=True)]
        assert max(ratios) < 2, f"batch and query: {ratios}"


async def fill(container: ContainerProxy, first: int, end: int) -> None:
    """Create documents number `first` to `end`, a hundred to a partition."""
    for start in range(first, end, BATCH_LIMIT):
        run_id = f"run-{start}"
        creates = [
            ("create", ({"id": str(n), "runId": run_id, "n": n},)) for n in range(start, start + BATCH_LIMIT)
        ]
        await container.execute_item_batch(creates, partition_key=run_id, no_response=True)


async def median_s(action: Callable[[int], Awaitable[object]], times: int = 60) -> float:
    durations = []
    for turn in range(times):
        started = time.perf_counter()
        await action(turn)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


async def batch_cost(container: ContainerProxy, run_id: str) -> float:
    """Median seconds of a batch that fails at its last operation, so that the undoing is measured too."""

    async def failing_batch(turn: int) -> None:
        operations = [("create", ({"id": f"{turn}-{n}", "runId": run_id},)) for n in range(4)]
        with pytest.raises(CosmosBatchOperationError):
            await container.execute_item_batch([*operations, ("read", ("missing",))], partition_key=run_id)

    return await median_s(failing_batch)


async def query_cost(container: ContainerProxy) -> float:
    """Median seconds of a query in a partition of a hundred documents."""

    async def partition_query(_turn: int) -> None:
        query = "SELECT VALUE c.n FROM c WHERE c.n < 10"
        assert len(await select(container, query, partition_key="run-0")) == 10

    return await median_s(partition_query)

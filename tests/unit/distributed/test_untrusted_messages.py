"""Whatever stands in a message: a worker lives on, and what is stored of a run stays right."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowcraft import FlowRuntime, NodeContext
from flowcraft.clock import SystemClock
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.worker import Worker
from flowcraft.distributed.message import Message, MessageError
from flowcraft.distributed.services import Services, WorkerSettings
from flowcraft.embedded import EmbeddedBackend, open_embedded
from flowcraft.evaluator import ExpressionEvaluator

KEYS = ["a", "w", "b", "x", "y"]
BLUEPRINT = {
    "id": "flow",
    "nodes": [{"id": key, "uses": "wait" if key == "w" else "step"} for key in KEYS],
    "edges": [{"source": source, "target": target} for source, target in ("aw", "wb", "xy")],
}
RUN = "run"

numbers = st.integers(-(2**40), 2**40)
junk = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=20), st.lists(numbers, max_size=2))
odd_keys = ["", "nope", "a#1", "b#2", "b#1.1", "a[0]", "b[0]", "w[x]", "y#3[7]", "b[[", "é/#?"]
node_keys = st.sampled_from([*KEYS, *odd_keys])
fields = st.fixed_dictionaries(
    {"runId": st.one_of(st.just(RUN), st.just(RUN), st.just(RUN), st.text(max_size=20), junk)},
    optional={
        "nodeId": st.one_of(node_keys, node_keys, st.text(max_size=20), junk),
        "blueprintId": st.one_of(st.just("flow"), st.text(max_size=20), junk),
        "session": junk,
        "alarm": junk,
        "check": junk,
        "base": junk,
        "notBefore": junk,
    },
)
bodies = st.one_of(
    fields.map(lambda document: orjson.dumps(document).decode()),
    fields.map(lambda document: base64.b64encode(orjson.dumps(document)).decode()),
    st.text(max_size=200),
    st.binary(max_size=100).map(lambda raw: base64.b64encode(raw).decode()),
)


@given(st.one_of(bodies, st.recursive(junk, st.lists).map(lambda value: orjson.dumps(value).decode())))
def test_a_body_is_a_message_or_is_refused_with_a_reason(body: str) -> None:
    reason = ""
    try:
        message = Message.parse(body)
    except MessageError as error:
        reason = str(error)
    else:
        assert message.run_id
        assert message.base >= 0
        assert Message.parse(message.to_body()) == message
        return
    assert reason


async def test_a_message_that_comes_too_often_fails_no_node_that_is_not_to_run() -> None:
    await _a_run_meets(['{"runId": "run", "nodeId": "b"}', '{"runId": "run", "nodeId": "b[0]"}'], most=0)


@pytest.mark.timeout(120)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(bodies, min_size=1, max_size=4))
@example(['{"runId": "run", "nodeId": "b", "base": -1000}'])
@example(['{"runId": "run", "nodeId": "b#1"}', '{"runId": "run", "nodeId": "b[0]"}'])
@example(['{"runId": "run", "nodeId": "w[0]", "alarm": true}'])
def test_no_message_changes_what_comes_of_a_run(sent: list[str]) -> None:
    asyncio.run(_a_run_meets(sent))


async def _a_run_meets(sent: list[str], most: int = 5) -> None:
    async def step(ctx: NodeContext) -> str:
        return f"{ctx.node_key}!"

    options = FlowRuntime(blueprints=[BLUEPRINT], registry={"step": step}).options
    async with open_embedded(":memory:", "q") as backend:
        client = Client("q", backend.queue, backend.facts, backend.coordination, SystemClock())
        async with Worker(_services(backend, options)):
            await client.start_workflow("flow", {}, run_id=RUN)
            await _until(client, "awaiting")
        before = await client.records(RUN)
        async with Worker(_services(backend, options, most)) as worker:
            for body in sent:
                await backend.queue.send(body)
            async with asyncio.timeout(10):
                while worker.handled < len(sent) or worker.jobs:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        assert await client.records(RUN) == before
        async with Worker(_services(backend, options)):
            await client.decide(RUN, "w", output="yes")
            header = await _until(client, "completed")
        assert header["output"] == {"b": "b!", "y": "y!"}
        assert sorted(await client.records(RUN)) == sorted(KEYS)


async def _until(client: Client, status: str) -> Any:
    async with asyncio.timeout(10):
        while (header := await client.header(RUN))["status"] != status:
            assert header["status"] in {"running", "awaiting"}, header
            await asyncio.sleep(0.001)
    return header


def _services(backend: EmbeddedBackend, options: Any, most: int = 5) -> Services:
    return Services(
        queue_name="q",
        queue=backend.queue,
        facts=backend.facts,
        coordination=backend.coordination,
        clock=SystemClock(),
        random=random.Random(1),  # noqa: S311 - jitter
        evaluator=ExpressionEvaluator(),
        catalog=options,
        worker_id="worker",
        settings=WorkerSettings(idle_min_s=0.001, drain_s=0.0, max_deliveries=most),
    )

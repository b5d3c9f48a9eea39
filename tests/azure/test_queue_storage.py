"""Queue Storage: what the contract does not see."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.queue.aio import QueueClient
from tests.azure.scripted_service import Reply, ScriptedService
from tests.emulators.stand_ins import StandIns

from flowcraft.distributed.message import Message
from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    DeliveryLostError,
    PayloadTooLargeError,
    PortError,
)
from flowcraft.times import iso
from flowcraft_azure import AzureBackend, AzureSettings, RequestCounter, open_azure
from flowcraft_azure.count import QUEUE

pytestmark = pytest.mark.emulators


@pytest.fixture
async def raw(stand_ins: StandIns, settings: AzureSettings) -> AsyncIterator[QueueClient]:
    """The queue as the SDK sees it."""
    storage = stand_ins.azure_storage_connection_string
    async with QueueClient.from_connection_string(storage, settings.queue) as client:
        yield client


async def test_each_call_is_one_request(backend: AzureBackend, counter: RequestCounter) -> None:
    for _ in range(40):
        await backend.queue.send("{}")
    counter.clear()
    deliveries = await backend.queue.receive(32, 30.0)
    assert len(deliveries) == 32
    assert counter.by_operation(QUEUE) == {"receive": 1}
    counter.clear()
    renewed = await backend.queue.update(deliveries[0], "{}", 30.0)
    await backend.queue.delete(renewed)
    await backend.queue.send_poison("{}")
    assert counter.by_operation(QUEUE) == {"update": 1, "delete": 1, "send poison": 1}
    counter.clear()
    assert await backend.queue.receive(32, 30.0) != []
    assert await backend.queue.receive(32, 30.0) == []
    assert counter.by_operation(QUEUE) == {"receive": 2}


async def test_messages_never_expire(backend: AzureBackend, raw: QueueClient) -> None:
    await backend.queue.send("{}")
    (message,) = await raw.peek_messages()
    assert message.expires_on is not None
    assert message.expires_on.year == 9999


async def test_base64_is_sent_where_it_is_wanted_and_both_forms_are_read(
    settings: AzureSettings, raw: QueueClient
) -> None:
    wanted = dataclasses.replace(settings, base64_messages=True)
    async with open_azure(wanted) as backend:
        await backend.queue.send('{"runId": "ä"}')
        (message,) = await raw.peek_messages()
        assert base64.b64decode(message.content).decode() == '{"runId": "ä"}'
        await raw.send_message('{"runId": "plain"}')
        bodies = {delivery.body for delivery in await backend.queue.receive(32, 30.0)}
        assert bodies == {'{"runId": "ä"}', '{"runId": "plain"}'}
        with pytest.raises(PayloadTooLargeError):
            await backend.queue.send("x" * 50_000)


async def test_the_oldest_visible_message_counts_from_the_end_of_its_delay(
    backend: AzureBackend, raw: QueueClient
) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    message = Message("r", not_before=iso(soon)).to_body()
    await raw.send_message(base64.b64encode(message.encode()).decode())
    assert (await backend.queue.depth()).oldest_visible == soon
    await raw.send_message("garbage")
    oldest = (await backend.queue.depth()).oldest_visible
    assert oldest is not None
    assert oldest < soon


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(400, headers={"x-ms-error-code": "PopReceiptMismatch"}), DeliveryLostError),
        (Reply(503, headers={"x-ms-error-code": "ServerBusy"}), BackendUnavailableError),
        (Reply(500, headers={"x-ms-error-code": "InternalError"}), BackendUnavailableError),
        (Reply(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"}), BackendRefusedError),
        (Reply(404, headers={"x-ms-error-code": "QueueNotFound"}), BackendRefusedError),
    ],
)
async def test_a_refused_delete_and_update_are_told_by_what_to_do(
    backend: AzureBackend, service: ScriptedService, reply: Reply, expected: type[PortError]
) -> None:
    await backend.queue.send("{}")
    (delivery,) = await backend.queue.receive(1, 30.0)
    service.answer("DELETE", "/messages/", reply)
    service.answer("PUT", "/messages/", reply)
    connection = f"AccountName=a;AccountKey=c2VjcmV0;QueueEndpoint={service.url}a"
    there = dataclasses.replace(backend.settings, queue_connection_string=connection)
    async with open_azure(there) as refused:
        with pytest.raises(expected):
            await refused.queue.delete(delivery)
        with pytest.raises(expected):
            await refused.queue.update(delivery, "{}", 30.0)


async def test_a_visibility_of_months_is_cut_to_what_the_service_takes(backend: AzureBackend) -> None:
    await backend.queue.send("{}", delay_s=90 * 86_400.0)
    assert await backend.queue.receive(1, 30.0) == []
    assert (await backend.queue.depth()).total == 1

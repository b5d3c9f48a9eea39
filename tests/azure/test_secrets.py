"""A marker secret through every way in which a service can fail: it is in no error and in no repr."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.emulators.stand_ins import StandIns

from flowcraft.ports import ClaimRequest, Commit, Delivery, Discharge, HeaderQuery
from flowcraft.ports.errors import PortError
from flowcraft.records import NodeRecord
from flowcraft_azure import AzureSettings, AzureSettingsError, open_azure, provision

pytestmark = pytest.mark.emulators

MARKER = base64.b64encode(b"the marker secret of this test, 32 b").decode()
STORAGE = "FLOWCRAFT_QUEUE_CONNECTION_STRING"
COSMOS = "FLOWCRAFT_COSMOS_CONNECTION_STRING"
REDIS = "FLOWCRAFT_REDIS_URL"
NOWHERE = "127.0.0.1:9"
STORAGE_NOWHERE = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={MARKER};"
STORAGE_NOWHERE += f"QueueEndpoint=http://{NOWHERE}/a;BlobEndpoint=http://{NOWHERE}/a"
SHARED = f"sv=2024-11-04&ss=q&sig={MARKER}"


def refused(given: StandIns) -> dict[str, str]:
    """Keys and a password that the services do not take."""
    storage = dict(part.split("=", 1) for part in given.azure_storage_connection_string.split(";") if part)
    endpoint = given.cosmos_connection_string.split(";")[0]
    return {
        STORAGE: ";".join(f"{name}={value}" for name, value in (storage | {"AccountKey": MARKER}).items()),
        COSMOS: f"{endpoint};AccountKey={MARKER};",
        REDIS: given.redis_connection_string.replace("://", f"://nobody:{MARKER}@"),
    }


def away(_: StandIns) -> dict[str, str]:
    """Nobody answers."""
    return {
        STORAGE: STORAGE_NOWHERE,
        COSMOS: f"AccountEndpoint=https://{NOWHERE}/;AccountKey={MARKER};",
        REDIS: f"redis://:{MARKER}@{NOWHERE}/0",
    }


def shared(given: StandIns) -> dict[str, str]:
    """A shared access signature that is not taken, and one that goes nowhere."""
    storage = dict(part.split("=", 1) for part in given.azure_storage_connection_string.split(";") if part)
    return {
        **away(given),
        STORAGE: f"QueueEndpoint={storage['QueueEndpoint']};SharedAccessSignature={SHARED}",
    }


def no_base64(given: StandIns) -> dict[str, str]:
    """A key that is none."""
    return {**away(given), STORAGE: refused(given)[STORAGE].replace(MARKER, f"{MARKER}!")}


Way = Callable[[StandIns], dict[str, str]]


@pytest.fixture(params=[refused, away, shared, no_base64], ids=lambda way: way.__name__)
def environment(request: pytest.FixtureRequest, stand_ins: StandIns) -> dict[str, str]:
    way: Way = request.param
    return {**os.environ, **way(stand_ins)}


def calls(backend: Any) -> dict[str, Callable[[], Awaitable[Any]]]:
    """A request of each kind; the store of facts takes seconds to refuse a key, so only two to it."""
    delivery = Delivery("id", "receipt", "{}", 1, backend.clock.now())
    record = NodeRecord("a", "a", "completed")
    queue, facts, coordination = backend.queue, backend.facts, backend.coordination
    return {
        "receive": lambda: queue.receive(1, 5.0),
        "send": lambda: queue.send("{}"),
        "update": lambda: queue.update(delivery, "{}", 5.0),
        "delete": lambda: queue.delete(delivery),
        "poison": lambda: queue.send_poison("{}"),
        "depth": queue.depth,
        "commit": lambda: facts.commit("run", Commit(create=[record])),
        "list": lambda: _all(facts.headers(HeaderQuery(queue="q"))),
        "claim": lambda: coordination.claim(ClaimRequest("run", "a", "token", 5.0)),
        "discharge": lambda: coordination.discharge(Discharge("run", "token", done=["a"])),
        "held": lambda: coordination.held("run", ["a"]),
        "lease": lambda: coordination.lease("name", "me", 5.0),
        "notify": lambda: coordination.notify("channel", "text"),
    }


async def _all(pages: AsyncIterator[Any]) -> None:
    async for _ in pages:
        pass


async def test_no_error_of_any_request_tells_a_secret(environment: dict[str, str]) -> None:
    settings = AzureSettings.from_environment(environment, "orders")
    assert MARKER not in repr(settings)
    async with open_azure(settings) as backend:
        asked = calls(backend)
        answers = await asyncio.gather(*(call() for call in asked.values()), return_exceptions=True)
    told = dict(zip(asked, answers, strict=True))
    assert {name: answer for name, answer in told.items() if not isinstance(answer, PortError)} == {}
    assert [name for name, error in told.items() if MARKER.strip("=") in f"{error} {error!r}"] == []


async def test_provisioning_tells_no_secret(environment: dict[str, str]) -> None:
    settings = AzureSettings.from_environment(environment, "orders")
    with pytest.raises(PortError) as caught:
        await provision(settings)
    assert MARKER.strip("=") not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (STORAGE, f"AccountName=a;AccountKey{MARKER}"),
        (STORAGE, MARKER),
        (STORAGE, f"AccountKey={MARKER}"),
        (COSMOS, f"AccountKey={MARKER};"),
        (COSMOS, MARKER),
        (COSMOS, f"AccountEndpoint=nonsense;AccountKey={MARKER}"),
        (REDIS, f"http://:{MARKER}@host:1/0"),
        (REDIS, f"host:6380,password={MARKER},ssl=perhaps"),
        (REDIS, f"redis://:{MARKER}@host:port/0"),
    ],
)
def test_a_setting_that_cannot_be_read_is_not_shown(stand_ins: StandIns, name: str, text: str) -> None:
    shown = ""
    try:
        settings = AzureSettings.from_environment({**refused(stand_ins), name: text}, "orders")
        shown = repr(settings)
        open_azure(settings)
    except AzureSettingsError as error:
        shown = str(error)
    assert shown
    assert MARKER.strip("=") not in shown

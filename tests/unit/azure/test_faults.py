"""What the SDKs raise, as the ports say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError

from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    ConflictError,
    PayloadTooLargeError,
    PortError,
)
from flowcraft_azure.faults import Faults, port_error


@dataclass
class Answer:
    """What an SDK error looks at of a response."""

    status_code: int
    headers: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def cosmos(status: int, substatus: int | None = None, **headers: str) -> CosmosHttpResponseError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if substatus is not None:
        named["x-ms-substatus"] = str(substatus)
    return CosmosHttpResponseError(  # type: ignore[no-untyped-call]
        message="said so", response=Answer(status, named)
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (cosmos(408), BackendUnavailableError),
        (cosmos(410), BackendUnavailableError),
        (cosmos(429), BackendUnavailableError),
        (cosmos(449), BackendUnavailableError),
        (cosmos(500), BackendUnavailableError),
        (cosmos(503), BackendUnavailableError),
        (cosmos(404, 1002), BackendUnavailableError),
        (cosmos(403, 3), BackendUnavailableError),
        (cosmos(403, 1008), BackendUnavailableError),
        (cosmos(413), PayloadTooLargeError),
        (cosmos(403, 1014), PayloadTooLargeError),
        (cosmos(401), BackendRefusedError),
        (cosmos(403), BackendRefusedError),
        (cosmos(403, 5300), BackendRefusedError),
        (cosmos(404, 1003), BackendRefusedError),
        (cosmos(400), BackendRefusedError),
        (ServiceRequestError("no route"), BackendUnavailableError),
        (ServiceResponseError("cut off"), BackendUnavailableError),
        (TimeoutError(), BackendUnavailableError),
        (ConnectionResetError("reset"), BackendUnavailableError),
        (ClientAuthenticationError("wrong key"), BackendRefusedError),
    ],
)
def test_an_error_becomes_what_the_caller_must_do(error: BaseException, expected: type[PortError]) -> None:
    translated = port_error(error, "Cosmos DB", "container statuses")
    assert type(translated) is expected
    assert "container statuses" in str(translated)
    assert "\n" not in str(translated)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (cosmos(429, x_ms_retry_after_ms="250"), 0.25),
        (cosmos(503, Retry_After="3"), 3.0),
        (cosmos(503), None),
        (
            CosmosBatchOperationError(  # type: ignore[no-untyped-call]
                error_index=0, headers={"x-ms-retry-after-ms": "40"}, status_code=429, message="slow down"
            ),
            0.04,
        ),
    ],
)
def test_how_long_the_service_asks_to_wait_is_kept(error: BaseException, seconds: float | None) -> None:
    translated = port_error(error, "Cosmos DB", "container statuses")
    assert isinstance(translated, BackendUnavailableError)
    assert translated.retry_after_s == seconds


def test_what_is_no_service_error_passes() -> None:
    with pytest.raises(ConflictError, match="mine"), Faults("Cosmos DB", "x"):
        raise ConflictError("mine")
    with pytest.raises(KeyError), Faults("Cosmos DB", "x"):
        raise KeyError("a defect")
    with Faults("Cosmos DB", "x"):
        pass


def test_a_missing_container_says_what_creates_it() -> None:
    with pytest.raises(BackendRefusedError, match="flowcraft provision"), Faults("Cosmos DB", "container x"):
        raise cosmos(404, 1003)


def test_an_answer_that_the_sdk_falls_over_is_still_the_services() -> None:
    """The storage SDK adds to the message of an error in XML; that of a gateway may have none."""
    stumbled = TypeError("unsupported operand type(s) for +=: 'NoneType' and 'str'")
    stumbled.__context__ = cosmos(429)
    with pytest.raises(BackendUnavailableError, match="429"), Faults("Queue Storage", "queue q"):
        raise stumbled

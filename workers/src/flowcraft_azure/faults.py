"""What the services' SDKs raise, said in the errors of the ports.

The division is by what the caller must do (see ``flowcraft.ports.errors``): wait and try again, call the
operator of the service, or make the payload smaller. Codes:
learn.microsoft.com, "http-status-codes-for-cosmosdb" and
"queue-service-error-codes".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from flowcraft.ports.errors import (
    BackendRefusedError,
    BackendUnavailableError,
    PayloadTooLargeError,
    PortError,
)

TRANSIENT: Final = frozenset({408, 410, 424, 429, 449})
_PARTITION_FULL: Final = 1014
_STUMBLED: Final = (TypeError, AttributeError, KeyError)
_TRANSIENT_CASES: Final = frozenset({(403, 3), (403, 1008), (404, 1002)})
"""A region failing over (twice), and a replica that is behind the session."""


class Faults:
    """``with Faults("Cosmos DB", "container statuses"):`` raises port errors for what the SDK raises inside.

    Errors that are answers (404 of an item, 409, 412) are to be caught inside, by who asked.
    """

    __slots__ = ("place", "service")

    def __init__(self, service: str, place: str) -> None:
        self.service = service
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            translated = port_error(error, self.service, self.place)
            if translated is not None:
                raise translated from error


def port_error(error: BaseException, service: str, place: str) -> PortError | None:
    """The port error for an SDK's error; None for what is none of a service's."""
    where = f"{service}, {place}"
    if isinstance(error, ClientAuthenticationError):
        return BackendRefusedError(f"{where}: the credentials are refused ({_first_line(error)})")
    if isinstance(error, HttpResponseError) and error.status_code:
        return _by_status(error, where)
    if isinstance(error, AzureError | asyncio.TimeoutError | OSError):
        return BackendUnavailableError(f"{where}: cannot be reached ({_first_line(error)})")
    if isinstance(error, _STUMBLED) and isinstance(error.__context__, AzureError):
        return port_error(error.__context__, service, place)  # the SDK fell over what a gateway answered
    return None


def _by_status(error: HttpResponseError, where: str) -> PortError:
    status = error.status_code or 0
    substatus = getattr(error, "sub_status", None)
    said = _first_line(error)
    if status in TRANSIENT or status >= 500 or (status, substatus) in _TRANSIENT_CASES:
        return BackendUnavailableError(f"{where}: answers {status} ({said})", _retry_after_s(error))
    if status == 413 or (status == 403 and substatus == _PARTITION_FULL):
        return PayloadTooLargeError(f"{where}: too large for the service ({said})")
    if status in {401, 403}:
        return BackendRefusedError(
            f"{where}: access is denied ({status}): check the key, or the role of the identity ({said})"
        )
    if status == 404:
        return BackendRefusedError(
            f"{where}: does not exist; `flowcraft provision{_queue_option(where)}` creates it"
        )
    return BackendRefusedError(f"{where}: refuses the request with {status} ({said})")


def _queue_option(where: str) -> str:
    """What provisions the queue that an error is about; its poison queue is made with it."""
    _, is_queue, name = where.partition(", queue ")
    return f" --queue {name.removesuffix('-poison')}" if is_queue else ""


def _retry_after_s(error: HttpResponseError) -> float | None:
    headers: Mapping[str, Any] = (
        getattr(error, "headers", None) or getattr(error.response, "headers", None) or {}
    )
    for name, per_second in (("x-ms-retry-after-ms", 1000.0), ("Retry-After", 1.0)):
        try:
            return float(headers[name]) / per_second
        except (KeyError, TypeError, ValueError):
            continue
    return None


def _first_line(error: BaseException) -> str:
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    shown = next((line for line in lines if not line.startswith("Status code:")), type(error).__name__)
    return shown if len(shown) <= 300 else shown[:300] + "…"

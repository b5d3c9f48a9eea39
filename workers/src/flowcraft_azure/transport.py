"""The HTTP transport of the Azure SDKs, as this project sets it up."""

from __future__ import annotations

import asyncio
import io
import urllib.request
from typing import Any, Final

from azure.core.pipeline.transport import AioHttpTransport

from flowcraft_azure.count import (
    BLOB,
    COSMOS,
    QUEUE,
    RequestCounter,
    blob_operation,
    cosmos_operation,
    queue_operation,
)

LARGE_BODY_BYTES: Final = 512 * 1024
"""From here a body is written in pieces: aiohttp writes bytes at once and blocks the loop meanwhile."""
PROBE_CLOSE_S: Final = 1.0
_OPERATIONS: Final = {BLOB: blob_operation, COSMOS: cosmos_operation, QUEUE: queue_operation}


class Transport(AioHttpTransport):  # type: ignore[misc]
    """The SDKs' own transport, which looks for proxies once instead of at each request, and can be counted.

    Args:
        service: Whose requests they are: ``queue``, ``blob`` or ``cosmos``.
        counter: Counts them, where given; retries and metadata requests are requests, too.
    """

    def __init__(self, service: str, counter: RequestCounter | None = None) -> None:
        super().__init__(use_env_settings=bool(urllib.request.getproxies()))
        self._service = service
        self._counter = counter
        self._operation = _OPERATIONS[service]
        self._probes: set[asyncio.Task[Any]] = set()

    async def send(self, request: Any, **options: Any) -> Any:
        """Send one request."""
        if self._counter is not None:
            self._counter.add(self._service, self._operation(request.method, request.url, request.headers))
        if request.headers.get("x-ms-thinclient-proxy-resource-type") == "databaseaccount":
            return await self._probe(request, options)
        body = request.data
        if not isinstance(body, bytes) or len(body) < LARGE_BODY_BYTES:
            return await super().send(request, **options)
        request.data = io.BytesIO(body)
        try:
            return await super().send(request, **options)
        finally:
            request.data = body  # the SDK may send the same request again

    async def close(self) -> None:
        """Close all connections."""
        if self._probes:
            await asyncio.wait(self._probes, timeout=PROBE_CLOSE_S)
        await super().close()

    async def _probe(self, request: Any, options: dict[str, Any]) -> Any:
        # The SDK asks for the account in the background too, and cancels that when its client is closed: amid
        # a TLS handshake this would leave the socket open. So a probe goes on, and closing waits for it.
        probe = asyncio.create_task(super().send(request, **options))
        self._probes.add(probe)
        probe.add_done_callback(self._probe_ended)
        return await asyncio.shield(probe)

    def _probe_ended(self, probe: asyncio.Task[Any]) -> None:
        self._probes.discard(probe)
        if not probe.cancelled():
            probe.exception()  # whoever waited for it was told, or is gone

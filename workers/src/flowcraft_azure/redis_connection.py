"""Connections to Redis, as this project sets them up."""

from __future__ import annotations

from typing import Any

from redis.asyncio.connection import AbstractConnection

from flowcraft_azure.count import REDIS, RequestCounter, redis_operation


def lean(kind: type[AbstractConnection], counter: RequestCounter | None) -> type[AbstractConnection]:
    """A connection class that writes without a timeout of its own, and can count round trips.

    A small command goes into the socket's buffer at once; a server that is gone shows in the answer, whose
    timeout stays. The client's timeout of a write costs a task a command, and (``asyncio.wait_for`` of
    Python 3.11) may swallow a cancellation. A round trip is one message; a pipeline is one message.
    """

    class LeanConnection(kind):  # type: ignore[misc, valid-type]
        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            packed = command if isinstance(command, bytes | str) else list(command)
            if counter is not None:
                counter.add(REDIS, redis_operation(packed))
            if not self.is_connected:
                await super().send_packed_command(packed, check_health)
                return
            if check_health:
                await self.check_health()
            timeout_s: float | None = self.socket_timeout  # type: ignore[has-type]
            self.socket_timeout = None
            try:
                await super().send_packed_command(packed, check_health=False)
            finally:
                self.socket_timeout = timeout_s

    return LeanConnection

"""The stand-ins of one chaos run: each can be ended and started again at its old place."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from tests.emulators.server_process import ServerProcess
from tests.emulators.stand_ins import Addresses, RunningStandIns

SERVICES = ("azurite-queue", "azurite-blob", "cosmos", "redis")


class Servers(RunningStandIns):
    """Stand-ins on fixed ports; Azurite and the Cosmos DB stand-in keep their state over a restart."""

    def __init__(self) -> None:
        queue, blob, cosmos, redis = _free_ports(4)
        super().__init__(
            Addresses(
                queue_port=queue, blob_port=blob, cosmos_port=cosmos, redis_port=redis, cosmos_scheme="http"
            )
        )

    async def end(self, name: str, *, kill: bool = False) -> None:
        """End one server, by its process id."""
        server = self._named(name)
        if kill:
            server.process.kill()
        else:
            server.terminate()
        await asyncio.to_thread(server.wait_ended)

    async def begin(self, name: str) -> None:
        """Start a server that was ended, at its old place."""
        old = self._named(name)
        command = [str(part) for part in old.process.args]  # type: ignore[union-attr]
        begun = ServerProcess.start(name, command, self.folder, old.probe, detached=True)
        self.processes[self.processes.index(old)] = begun
        await asyncio.to_thread(begun.wait_ready)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to one server."""
        self._named(name).process.send_signal(number)

    def _named(self, name: str) -> ServerProcess:
        return next(server for server in self.processes if server.name == name)

    def _spawn(
        self, name: str, command: Sequence[str], probe: Callable[[str, int], int | None]
    ) -> ServerProcess:
        if name == "cosmos":
            command = [*command, "--state", str(self.folder / "cosmos.json")]
        return super()._spawn(name, command, probe)


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports

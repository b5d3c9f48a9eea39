"""Where each connection setting of a pool comes from: its spec, a Secret beside it, or the operator.

The names are those of the `FLOWCRAFT_*` variables that a worker reads, so that operator and workers reach the
same backend by the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flowcraft_api.backend import BackendSpec, CosmosBackend, QueueBackend, RedisBackend, SecretValue
from flowcraft_api.worker_pool import WorkerPoolSpec, queue_name

QUEUE_NAME: Final = "FLOWCRAFT_QUEUE"
STORAGE_CONNECTION_STRING: Final = "FLOWCRAFT_QUEUE_CONNECTION_STRING"
STORAGE_ACCOUNT_URL: Final = "FLOWCRAFT_QUEUE_ACCOUNT_URL"
COSMOS_CONNECTION_STRING: Final = "FLOWCRAFT_COSMOS_CONNECTION_STRING"
COSMOS_ENDPOINT: Final = "FLOWCRAFT_COSMOS_ENDPOINT"
COSMOS_KEY: Final = "FLOWCRAFT_COSMOS_KEY"
COSMOS_DATABASE: Final = "FLOWCRAFT_COSMOS_DATABASE"
CONTEXT_CONTAINER: Final = "FLOWCRAFT_COSMOS_CONTEXT_CONTAINER"
STATUS_CONTAINER: Final = "FLOWCRAFT_COSMOS_STATUS_CONTAINER"
REDIS_URL: Final = "FLOWCRAFT_REDIS_URL"

SECRET_SETTINGS: Final = frozenset(
    {STORAGE_CONNECTION_STRING, COSMOS_CONNECTION_STRING, COSMOS_KEY, REDIS_URL}
)
"""What may hold a password: it reaches pods through a Secret only."""

BACKEND_SETTINGS: Final = (
    STORAGE_CONNECTION_STRING,
    STORAGE_ACCOUNT_URL,
    COSMOS_CONNECTION_STRING,
    COSMOS_ENDPOINT,
    COSMOS_KEY,
    COSMOS_DATABASE,
    CONTEXT_CONTAINER,
    STATUS_CONTAINER,
    REDIS_URL,
)
"""What the operator may have a default for."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A value that is no secret."""

    text: str


@dataclass(frozen=True, slots=True)
class FromSecret:
    """A key of a Secret in the pool's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class FromOperator:
    """A secret default of the operator's own, which reaches the workers through a Secret that it makes."""

    text: str

    def __repr__(self) -> str:
        """Without the secret."""
        return "FromOperator(…)"


Source = Plain | FromSecret | FromOperator


def backend_sources(
    namespace: str, pool: str, spec: WorkerPoolSpec, defaults: Mapping[str, str]
) -> dict[str, Source]:
    """The source of every connection setting of a pool, by variable.

    A part that the pool connects by itself takes nothing of the operator's way in: a pool's account URL is
    never used with the operator's connection string.
    """
    backend = spec.backend
    sources: dict[str, Source] = {QUEUE_NAME: Plain(queue_name(namespace, pool, spec))}
    sources |= _queue(backend.queue) or _defaults(defaults, STORAGE_CONNECTION_STRING, STORAGE_ACCOUNT_URL)
    sources |= _cosmos(backend.cosmos) or _defaults(
        defaults, COSMOS_CONNECTION_STRING, COSMOS_ENDPOINT, COSMOS_KEY
    )
    sources |= _defaults(defaults, COSMOS_DATABASE, CONTEXT_CONTAINER, STATUS_CONTAINER)
    sources |= _names(backend)
    sources |= _redis(backend.redis) or _defaults(defaults, REDIS_URL)
    return sources


def _queue(queue: QueueBackend) -> dict[str, Source]:
    if queue.connection_string is not None:
        return {STORAGE_CONNECTION_STRING: _secret(queue.connection_string)}
    return {STORAGE_ACCOUNT_URL: Plain(queue.account_url)} if queue.account_url else {}


def _cosmos(cosmos: CosmosBackend) -> dict[str, Source]:
    if cosmos.connection_string is not None:
        return {COSMOS_CONNECTION_STRING: _secret(cosmos.connection_string)}
    if cosmos.endpoint is None:
        return {}
    sources: dict[str, Source] = {COSMOS_ENDPOINT: Plain(cosmos.endpoint)}
    if cosmos.key is not None:
        sources[COSMOS_KEY] = _secret(cosmos.key)
    return sources


def _names(backend: BackendSpec) -> dict[str, Source]:
    given = {
        COSMOS_DATABASE: backend.cosmos.database,
        CONTEXT_CONTAINER: backend.cosmos.context_container,
        STATUS_CONTAINER: backend.cosmos.status_container,
    }
    return {name: Plain(value) for name, value in given.items() if value}


def _redis(redis: RedisBackend) -> dict[str, Source]:
    if redis.url is None:
        return {}
    if redis.url.secret_key_ref is not None:
        return {REDIS_URL: FromSecret(redis.url.secret_key_ref.name, redis.url.secret_key_ref.key)}
    return {REDIS_URL: Plain(redis.url.value)} if redis.url.value else {}


def _secret(value: SecretValue) -> FromSecret:
    return FromSecret(value.secret_key_ref.name, value.secret_key_ref.key)


def _defaults(defaults: Mapping[str, str], *names: str) -> dict[str, Source]:
    return {
        name: FromOperator(defaults[name]) if name in SECRET_SETTINGS else Plain(defaults[name])
        for name in names
        if defaults.get(name)
    }

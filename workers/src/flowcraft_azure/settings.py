"""Where the three services are: read from the environment, checked once, errors in one line.

Names are ``FLOWCRAFT_*``; the names that the original's documentation uses for connection strings are the
fallback. A service is given by a connection string, or by its address alone: then the process signs in with
its identity (``DefaultAzureCredential``: workload identity in a cluster, the az command line on a desk).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from flowcraft_azure.redis_address import redis_address, split_address

DEFAULT_DATABASE: Final = "flowcraft-db"
DEFAULT_CONTEXT_CONTAINER: Final = "contexts"
DEFAULT_STATUS_CONTAINER: Final = "statuses"
DEFAULT_BLOB_CONTAINER: Final = "flowcraft-values"

QUEUE: Final = "FLOWCRAFT_QUEUE"
QUEUE_CONNECTION: Final = ("FLOWCRAFT_QUEUE_CONNECTION_STRING", "AZURE_STORAGE_CONNECTION_STRING")
QUEUE_ACCOUNT_URL: Final = "FLOWCRAFT_QUEUE_ACCOUNT_URL"
QUEUE_BASE64: Final = "FLOWCRAFT_QUEUE_BASE64"
BLOB_CONNECTION: Final = "FLOWCRAFT_BLOB_CONNECTION_STRING"
BLOB_ACCOUNT_URL: Final = "FLOWCRAFT_BLOB_ACCOUNT_URL"
BLOB_CONTAINER: Final = "FLOWCRAFT_BLOB_CONTAINER"
COSMOS_CONNECTION: Final = ("FLOWCRAFT_COSMOS_CONNECTION_STRING", "COSMOS_DB_CONNECTION_STRING")
COSMOS_ENDPOINT: Final = "FLOWCRAFT_COSMOS_ENDPOINT"
COSMOS_KEY: Final = "FLOWCRAFT_COSMOS_KEY"
COSMOS_DATABASE: Final = "FLOWCRAFT_COSMOS_DATABASE"
COSMOS_CONTEXT_CONTAINER: Final = "FLOWCRAFT_COSMOS_CONTEXT_CONTAINER"
COSMOS_STATUS_CONTAINER: Final = "FLOWCRAFT_COSMOS_STATUS_CONTAINER"
REDIS: Final = ("FLOWCRAFT_REDIS_URL", "REDIS_CONNECTION_STRING")
REDIS_CLUSTER: Final = "FLOWCRAFT_REDIS_CLUSTER"
IDENTITY_CLIENT_ID: Final = "FLOWCRAFT_IDENTITY_CLIENT_ID"

POISON_SUFFIX: Final = "-poison"
"""Of the name of a queue's poison queue."""

_QUEUE_NAME = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,54}[a-z0-9]\Z")
_UNFIT_NAME = re.compile(r"[/\\#?]| \Z")
_BLOB_CONTAINER_NAME = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]\Z")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class AzureSettingsError(ValueError):
    """A setting is missing or malformed; the message names the variable and what it should be."""


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """The services of one queue. Its text shows no secret.

    Attributes:
        queue: Name of the queue; its poison queue is ``<queue>-poison``.
        queue_connection_string: Of the storage account; or
        queue_account_url: its queue service, for sign-in with the identity.
        cosmos_endpoint: The account.
        cosmos_key: Its key; without one, sign-in with the identity.
        redis_url: ``redis://`` or ``rediss://`` (TLS).
        redis_cluster: The address is of a cluster (Azure Managed Redis with the "OSS" clustering policy).
        cosmos_database: Name of the database.
        cosmos_context_container: Container of node records and context.
        cosmos_status_container: Container of run headers.
        identity_client_id: Which managed identity signs in, where there are several.
        base64_messages: Send messages as base64 (readers of Azure Functions expect it).
        blob_connection_string: Of the storage account of large values; the queue's by default. Or
        blob_account_url: its blob service, for sign-in with the identity; the queue's account by default.
        blob_container: Container of large values.
    """

    queue: str
    queue_connection_string: str = field(default="", repr=False)
    queue_account_url: str = ""
    cosmos_endpoint: str = ""
    cosmos_key: str = field(default="", repr=False)
    redis_url: str = field(default="", repr=False)
    redis_cluster: bool = False
    cosmos_database: str = DEFAULT_DATABASE
    cosmos_context_container: str = DEFAULT_CONTEXT_CONTAINER
    cosmos_status_container: str = DEFAULT_STATUS_CONTAINER
    identity_client_id: str = ""
    base64_messages: bool = False
    blob_connection_string: str = field(default="", repr=False)
    blob_account_url: str = ""
    blob_container: str = DEFAULT_BLOB_CONTAINER

    @property
    def needs_identity(self) -> bool:
        """Whether some service is to be signed in to without a secret."""
        return not self.queue_connection_string or bool(self.blob_account_url) or not self.cosmos_key

    @property
    def has_blobs(self) -> bool:
        """Whether large values have a place; without one a value must fit into an item of Cosmos DB."""
        return bool(self.blob_connection_string or self.blob_account_url)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], queue: str | None = None) -> AzureSettings:
        """Read and check all settings; ``queue`` takes the place of its variable.

        Raises:
            AzureSettingsError: one is missing or malformed.
        """
        get = environment.get
        connection, connection_name = _first(environment, QUEUE_CONNECTION)
        account_url = get(QUEUE_ACCOUNT_URL, "").strip()
        if not connection and not account_url:
            raise AzureSettingsError(
                f"no storage account: set {QUEUE_CONNECTION[0]}, "
                f"or {QUEUE_ACCOUNT_URL} to sign in with the identity"
            )
        connection = _storage(connection, connection_name) if connection else ""
        account_url = "" if connection else _url(account_url, QUEUE_ACCOUNT_URL)
        blob_connection, blob_account_url = _blob(environment, connection, account_url)
        endpoint, key = _cosmos(environment)
        given, redis_name = _first(environment, REDIS)
        if not given:
            raise AzureSettingsError(f"no Redis: set {REDIS[0]}, for example rediss://:password@host:6380/0")
        redis_url, redis_cluster = _redis(given, redis_name)
        return cls(
            queue=_queue_name(queue or get(QUEUE, "")),
            queue_connection_string=connection,
            queue_account_url=account_url,
            cosmos_endpoint=endpoint,
            cosmos_key=key,
            redis_url=redis_url,
            redis_cluster=redis_cluster or _is_true(get(REDIS_CLUSTER, "")),
            cosmos_database=_cosmos_name(get(COSMOS_DATABASE) or DEFAULT_DATABASE, COSMOS_DATABASE),
            cosmos_context_container=_cosmos_name(
                get(COSMOS_CONTEXT_CONTAINER) or DEFAULT_CONTEXT_CONTAINER, COSMOS_CONTEXT_CONTAINER
            ),
            cosmos_status_container=_cosmos_name(
                get(COSMOS_STATUS_CONTAINER) or DEFAULT_STATUS_CONTAINER, COSMOS_STATUS_CONTAINER
            ),
            identity_client_id=get(IDENTITY_CLIENT_ID, ""),
            base64_messages=_is_true(get(QUEUE_BASE64, "")),
            blob_connection_string=blob_connection,
            blob_account_url=blob_account_url,
            blob_container=_container_name(get(BLOB_CONTAINER) or DEFAULT_BLOB_CONTAINER),
        )


def is_configured(environment: Mapping[str, str]) -> bool:
    """Whether any of the services is named: a process without such a setting is meant to run embedded."""
    names = (*QUEUE_CONNECTION, QUEUE_ACCOUNT_URL, *COSMOS_CONNECTION, COSMOS_ENDPOINT)
    return any(environment.get(name) for name in names)


def is_emulator(url: str) -> bool:
    """Whether the address is of a stand-in: plain http, or this machine (whose certificate nobody signed)."""
    parts = urlsplit(url)
    return parts.scheme == "http" or parts.hostname in _LOOPBACK


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    for name in names:
        value = environment.get(name, "").strip()
        if value:
            return value, name
    return "", names[0]


def _is_true(text: str) -> bool:
    return text.strip().lower() in {"1", "true", "yes"}


def _queue_name(name: str) -> str:
    if not name:
        raise AzureSettingsError(f"no queue: set {QUEUE} to the name of the queue")
    if not _QUEUE_NAME.match(name):
        raise AzureSettingsError(
            f"queue name {name!r}: 3 to 56 lower-case letters, digits and single hyphens are allowed"
        )
    if name.endswith(POISON_SUFFIX):
        raise AzureSettingsError(
            f"queue name {name!r}: what ends in {POISON_SUFFIX} is another queue's poison queue"
        )
    return name


def _cosmos_name(name: str, variable: str) -> str:
    # learn.microsoft.com, Cosmos DB, "concepts-limits": 255 characters, none of those that part an address
    if len(name) > 255 or _UNFIT_NAME.search(name):
        raise AzureSettingsError(
            f"{variable} {name!r}: at most 255 characters are allowed, no / \\ # ? and no space at the end"
        )
    return name


def _container_name(name: str) -> str:
    # learn.microsoft.com, "naming-and-referencing-containers--blobs--and-metadata"
    if not _BLOB_CONTAINER_NAME.match(name):
        raise AzureSettingsError(
            f"{BLOB_CONTAINER} {name!r}: 3 to 63 lower-case letters, digits and single hyphens are allowed"
        )
    return name


def _blob(environment: Mapping[str, str], queue_connection: str, queue_account_url: str) -> tuple[str, str]:
    """Connection string or address of the blob service: its own settings, or those of the queue's account.

    Neither, where the queue's settings say nothing of blobs: addresses of queues alone, or of one's own.
    """
    own, name = _first(environment, (BLOB_CONNECTION,))
    account_url = environment.get(BLOB_ACCOUNT_URL, "").strip()
    if own:
        return _storage(own, name), ""
    if account_url:
        return "", _url(account_url, BLOB_ACCOUNT_URL)
    parts = _parts(queue_connection)
    of_account = "queueendpoint" not in parts or "blobendpoint" in parts
    address = queue_account_url.replace(".queue.", ".blob.", 1)
    return queue_connection if of_account else "", address if address != queue_account_url else ""


def _cosmos(environment: Mapping[str, str]) -> tuple[str, str]:
    # What is named FLOWCRAFT_* goes first, in either form; then the connection string by its other name.
    own, own_name = _first(environment, COSMOS_CONNECTION[:1])
    endpoint = environment.get(COSMOS_ENDPOINT, "").strip()
    if own:
        return _cosmos_parts(own, own_name)
    if endpoint:
        return _url(endpoint, COSMOS_ENDPOINT), _key(environment.get(COSMOS_KEY, "").strip(), COSMOS_KEY)
    other, other_name = _first(environment, COSMOS_CONNECTION[1:])
    if other:
        return _cosmos_parts(other, other_name)
    raise AzureSettingsError(
        f"no Cosmos DB account: set {COSMOS_CONNECTION[0]}, or {COSMOS_ENDPOINT} to sign in with the identity"
    )


def _parts(connection_string: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _cosmos_parts(connection_string: str, name: str) -> tuple[str, str]:
    parts = _parts(connection_string)
    endpoint, key = parts.get("accountendpoint", ""), parts.get("accountkey", "")
    if not endpoint or not key:
        raise AzureSettingsError(
            f"{name} is no connection string of Cosmos DB: it should be AccountEndpoint=https://…;AccountKey=…;"
        )
    return _url(endpoint, name), _key(key, name)


def _key(key: str, name: str) -> str:
    """The key of the account; one that the SDK could not sign with is refused here, unquoted."""
    try:
        base64.b64decode(key)
    except (binascii.Error, ValueError):
        raise AzureSettingsError(f"{name}: the account's key is no base64: copy the whole of it") from None
    return key


def _storage(connection_string: str, name: str) -> str:
    parts = _parts(connection_string)
    emulator = parts.get("usedevelopmentstorage", "").lower() == "true"
    signed = "accountkey" in parts or "sharedaccesssignature" in parts
    placed = "accountname" in parts or "queueendpoint" in parts
    if not emulator and not (signed and placed):
        raise AzureSettingsError(
            f"{name} is no connection string of a storage account: "
            "it should be DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…"
        )
    return connection_string


def _url(text: str, name: str) -> str:
    parts = split_address(text)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise AzureSettingsError(
            f"{name} is no address: it should be such as https://host or https://host:port"
        )
    return text


def _redis(text: str, name: str) -> tuple[str, bool]:
    try:
        return redis_address(text)
    except ValueError as error:
        raise AzureSettingsError(f"{name} is no address of Redis: {error}") from None

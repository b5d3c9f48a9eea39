"""Where a pool keeps its runs: queue, facts and coordination; each part may be left to the operator."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from flowcraft_api.documents import SUBDOMAIN_PATTERN, SpecModel, one_of_rule, rule

MAX_QUEUE_NAME_LENGTH = 56
"""Azure allows 63 characters; `-poison` is appended for the poison queue."""
POISON_SUFFIX = "-poison"
_POISON_NAME = "a name that ends in -poison is that of another queue's poison queue: give another name"


class SecretKeyRef(SpecModel):
    """One key of a Secret in the namespace of the pool."""

    name: str = Field(min_length=1, max_length=253, pattern=SUBDOMAIN_PATTERN)
    """The name of a Secret in the namespace of the pool."""

    key: str = Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")
    """The key in the Secret whose value is used."""


class SecretValue(SpecModel):
    """A value that is read from a Secret and never appears in the resource."""

    secret_key_ref: SecretKeyRef
    """The Secret and the key that hold the value."""


class RedisUrl(SpecModel):
    """The address of a Redis server: plain where it holds no password, else from a Secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(one_of_rule("value", "secretKeyRef"), "give exactly one of value and secretKeyRef")
            ]
        }
    )

    value: str | None = Field(default=None, min_length=1, max_length=1024, pattern=r"^rediss?://[^@]+$")
    """The address itself, for a Redis without a password, for example redis://redis.shop:6379/0. An address
    that holds a password belongs into a Secret and is refused here."""

    secret_key_ref: SecretKeyRef | None = None
    """The Secret and the key that hold the address, for example rediss://:password@host:6380/0."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.value is None) == (self.secret_key_ref is None):
            raise ValueError("give exactly one of value and secretKeyRef")
        return self


class QueueBackend(SpecModel):
    """The queue of Azure Queue Storage that holds the pool's messages."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!(has(self.connectionString) && has(self.accountUrl))",
                    "give connectionString or accountUrl, not both",
                ),
                rule(f"!has(self.name) || !self.name.endsWith('{POISON_SUFFIX}')", _POISON_NAME),
            ]
        }
    )

    name: str | None = Field(
        default=None, min_length=3, max_length=MAX_QUEUE_NAME_LENGTH, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$"
    )
    """The name of the queue: lower-case letters, digits and single hyphens. Without it, the name is
    <namespace>-<pool>. Its poison queue is called <name>-poison. No two pools may share a queue: the
    younger one is then not Ready, with the reason QueueConflict."""

    connection_string: SecretValue | None = None
    """The connection string of the storage account. Give this, or accountUrl together with
    backend.identity."""

    account_url: str | None = Field(default=None, max_length=512, pattern=r"^https?://[^\s]+$")
    """The address of the storage account's queue service, for example https://shop.queue.core.windows.net.
    The workers then sign in with the identity in backend.identity, without any secret."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.connection_string is not None and self.account_url is not None:
            raise ValueError("give connectionString or accountUrl, not both")
        if self.name is not None and self.name.endswith(POISON_SUFFIX):
            raise ValueError(_POISON_NAME)
        return self


class CosmosBackend(SpecModel):
    """The Azure Cosmos DB account (API for NoSQL) that holds the facts of the pool's runs."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.connectionString) || !(has(self.endpoint) || has(self.key))",
                    "give connectionString, or endpoint with or without key, not both",
                )
            ]
        }
    )

    endpoint: str | None = Field(default=None, max_length=512, pattern=r"^https?://[^\s]+$")
    """The address of the account, for example https://shop.documents.azure.com:443/. Without key, the
    workers sign in with the identity in backend.identity."""

    key: SecretValue | None = None
    """The account key that belongs to endpoint."""

    connection_string: SecretValue | None = None
    """A connection string, which holds both the address and the key of the account, instead of endpoint and
    key."""

    database: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[^/\\#?]+$")
    """The name of the database. It must exist: `flowcraft provision` creates it."""

    context_container: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[^/\\#?]+$")
    """The name of the container for node records and context, with the partition key /runId."""

    status_container: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[^/\\#?]+$")
    """The name of the container for run headers, with the partition key /runId."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.connection_string is not None and (self.endpoint is not None or self.key is not None):
            raise ValueError("give connectionString, or endpoint with or without key, not both")
        return self


class RedisBackend(SpecModel):
    """The Redis server that holds claims and the arrivals of joins. Losing its data never costs a run."""

    url: RedisUrl | None = None
    """The address of the server, from a Secret or plain."""


class IdentityBackend(SpecModel):
    """The workload identity with which workers sign in to Azure instead of with secrets."""

    client_id: str = Field(min_length=1, max_length=128, pattern=r"^[-0-9A-Za-z]+$")
    """The client id of the managed identity. Its federated credential must name the pool's service
    account."""


class BackendSpec(SpecModel):
    """Where the pool keeps its runs. The operator's own settings are the default of every part."""

    queue: QueueBackend = QueueBackend()
    """The queue of Azure Queue Storage that holds the pool's messages."""

    cosmos: CosmosBackend = CosmosBackend()
    """The Azure Cosmos DB account that holds the facts of the pool's runs."""

    redis: RedisBackend = RedisBackend()
    """The Redis server that holds claims and the arrivals of joins."""

    identity: IdentityBackend | None = None
    """The workload identity with which workers sign in to Azure: no secrets at all."""

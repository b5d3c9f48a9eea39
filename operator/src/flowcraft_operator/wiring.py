"""The one place that knows Azure: from connection settings to a backend that the operator works with."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from flowcraft.distributed.client import Client
from flowcraft.ports import Clock
from flowcraft_azure.backend import open_azure
from flowcraft_azure.count import COSMOS, QUEUE, REDIS, RequestCounter
from flowcraft_azure.settings import AzureSettings, AzureSettingsError

DEVELOPMENT_ACCOUNT: Final = "devstoreaccount1"


class BackendSettingsError(ValueError):
    """A pool's connection settings cannot be used; the text names the setting and what it should be."""


@dataclass(frozen=True, slots=True)
class Backend:
    """The services of one pool.

    Attributes:
        client: Starts and steers runs; its ports are also what reconciliation works on.
        account: Names the storage account: two queues of one name in one account are one queue.
        close: Ends all connections.
    """

    client: Client
    account: str
    close: Callable[[], Awaitable[None]]


class Backends(Protocol):
    """Opens backends."""

    def open(self, settings: Mapping[str, str], clock: Clock) -> Backend:
        """Open the services of one queue. Nothing is sent yet: one that is away shows at its first use.

        Args:
            settings: By their `FLOWCRAFT_*` names.
            clock: Of the process.

        Raises:
            BackendSettingsError: a setting is missing or malformed.
        """
        ...

    def requests(self) -> Mapping[str, int]:
        """How many requests were sent so far, by service."""
        ...


class AzureBackends:
    """Opens Azure's services, and counts every request that is sent to them."""

    def __init__(self) -> None:
        self._counter = RequestCounter()

    def open(self, settings: Mapping[str, str], clock: Clock) -> Backend:
        """Open Azure's services; see `Backends.open`."""
        try:
            azure = AzureSettings.from_environment(settings)
            randomness = random.Random()  # noqa: S311 - jitter, no secret
            backend = open_azure(azure, clock, randomness, counter=self._counter)
        except AzureSettingsError as error:
            raise BackendSettingsError(str(error)) from None
        client = Client(
            queue_name=azure.queue,
            queue=backend.queue,
            facts=backend.facts,
            coordination=backend.coordination,
            clock=clock,
        )
        return Backend(client, _account(azure), backend.aclose)

    def requests(self) -> Mapping[str, int]:
        """How many requests were sent so far, by service."""
        return {service: self._counter.total(service) for service in (QUEUE, COSMOS, REDIS)}


def _account(settings: AzureSettings) -> str:
    """The host (and path, for stand-ins) of the queue service."""
    pairs = (part.split("=", 1) for part in settings.queue_connection_string.split(";") if "=" in part)
    parts = {name.strip().lower(): value.strip() for name, value in pairs}
    address = parts.get("queueendpoint") or settings.queue_account_url
    if address:
        found = urlsplit(address)
        return f"{found.netloc}{found.path}".rstrip("/").lower()
    if "accountname" not in parts:
        return DEVELOPMENT_ACCOUNT
    suffix = parts.get("endpointsuffix", "core.windows.net")
    return f"{parts['accountname']}.queue.{suffix}".lower()

"""One pool's way to its backend: secrets resolved, services opened, health told, opened anew if need be."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flowcraft.distributed.client import Client
from flowcraft.ports import Clock
from flowcraft.ports.errors import BackendRefusedError, BackendUnavailableError, PortError
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.kube.errors import ForbiddenError, NotFoundError
from flowcraft_operator.kube.resources import SECRETS
from flowcraft_operator.manifests.backend_sources import FromOperator, FromSecret, Plain, Source
from flowcraft_operator.planning.pool import REACHABLE, BackendHealth, measured_depth
from flowcraft_operator.planning.scaling import QueueMeasurement, Unmeasured
from flowcraft_operator.wiring import Backend, Backends, BackendSettingsError

SECRETS_EVERY_S: Final = 60.0
"""How often secrets are read again while all is well; a backend that fails has them read at each probe."""
PROBE_EVERY_S: Final = 5.0
TOLERATED_S: Final = 8.0
"""A service that worked before counts as unreachable when it fails for so long: a hiccup is no news."""
PROBE_ID: Final = "flowcraft-operator-probe"
"""The id of no run: looking it up proves that the facts can be read."""

_log = logging.getLogger(__name__)


class SecretMissingError(Exception):
    """A Secret, or a key of it, is not there; the text says which."""


@dataclass(slots=True)
class ServiceHealth:
    """How requests to one service went.

    Attributes:
        error: Of the last request; None if it succeeded, or there was none.
        tried: There was one.
        worked: One succeeded.
        failing_since: When the first of the failures in a row was, in seconds of the monotonic clock.
    """

    error: PortError | None = None
    tried: bool = False
    worked: bool = False
    failing_since: float = 0.0

    def take(self, error: PortError | None, now: float) -> None:
        """Take note of a request."""
        if error is not None and self.error is None:
            self.failing_since = now
        self.error, self.tried, self.worked = error, True, self.worked or error is None

    def failure(self, now: float) -> PortError | None:
        """What is to be told: a refusal at once, a service that worked before only when it stays away."""
        passing = isinstance(self.error, BackendUnavailableError) and self.worked
        return None if passing and now - self.failing_since < TOLERATED_S else self.error


@dataclass(slots=True)
class PoolConnection:
    """A pool's backend as far as it could be opened.

    Attributes:
        backend: The services; None while the settings cannot be used.
        settings: What it was opened with.
        health: What is known of them.
    """

    kube: KubeClient
    backends: Backends
    clock: Clock
    namespace: str
    backend: Backend | None = None
    settings: dict[str, str] = field(default_factory=dict)
    health: BackendHealth = field(default_factory=BackendHealth)
    _facts: ServiceHealth = field(default_factory=ServiceHealth)
    _queue: ServiceHealth = field(default_factory=ServiceHealth)
    _coordination_error: str = ""
    _settings_problem: BackendHealth | None = None
    _secrets_read_at: float | None = None
    _probed_at: float | None = None
    _sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def client(self) -> Client | None:
        """The client of the pool's queue; None while there is no backend."""
        return self.backend.client if self.backend else None

    async def ensure(self, sources: Mapping[str, Source]) -> None:
        """Have the backend of these sources open, and its facts known to be readable or not."""
        now = self.clock.monotonic()
        changed = dict(sources) != dict(self._sources)
        if changed or self._secrets_read_at is None or now - self._secrets_read_at >= self._secrets_every_s:
            self._sources = dict(sources)
            self._secrets_read_at = now
            await self._open()
        if self.backend is not None:
            await self._probe(self.backend.client, now)
        self._tell()

    async def measure(self) -> QueueMeasurement:
        """The depth of the queue; never raises."""
        if self.backend is None:
            return Unmeasured(self.health.message)
        client = self.backend.client
        try:
            depth = await client.queue.depth()
        except PortError as error:
            self._queue.take(error, self.clock.monotonic())
            self._tell()
            return Unmeasured(str(error))
        self._queue.take(None, self.clock.monotonic())
        in_flight = await self._in_flight(client)
        self._tell()
        return measured_depth(
            depth.visible,
            exact=depth.exact,
            total=depth.total,
            in_flight=in_flight,
            oldest_visible=depth.oldest_visible,
        )

    def report(self, error: PortError | None) -> None:
        """Take note of how a request to the facts or the queue went."""
        if error is None or isinstance(error, BackendUnavailableError | BackendRefusedError):
            self._facts.take(error, self.clock.monotonic())
            self._tell()

    async def close(self) -> None:
        """End the connections."""
        backend, self.backend = self.backend, None
        if backend is not None:
            await backend.close()

    @property
    def _secrets_every_s(self) -> float:
        return SECRETS_EVERY_S if self.health.reachable else PROBE_EVERY_S

    async def _open(self) -> None:
        try:
            settings = await self._resolved()
            if settings != self.settings or self.backend is None:
                await self.close()
                self.settings = settings
                self._facts, self._queue, self._probed_at = ServiceHealth(), ServiceHealth(), None
                self.backend = self.backends.open(settings, self.clock)
        except SecretMissingError as error:
            self._settings_problem = BackendHealth(False, "SecretNotFound", str(error))
        except BackendSettingsError as error:
            self._settings_problem = BackendHealth(False, "BackendNotConfigured", str(error))
        else:
            self._settings_problem = None

    async def _resolved(self) -> dict[str, str]:
        """All settings in clear; each Secret is read once."""
        secrets: dict[str, Mapping[str, str]] = {}
        settings = {}
        for name, source in self._sources.items():
            match source:
                case Plain(text) | FromOperator(text):
                    settings[name] = text
                case FromSecret(secret, key):
                    if secret not in secrets:
                        secrets[secret] = await self._secret(secret)
                    settings[name] = _value(secrets[secret], secret, key)
        return settings

    async def _secret(self, name: str) -> Mapping[str, str]:
        try:
            document = await self.kube.get(SECRETS, self.namespace, name)
        except NotFoundError:
            raise SecretMissingError(f"Secret {name} does not exist in namespace {self.namespace}") from None
        except ForbiddenError as error:
            raise SecretMissingError(f"Secret {name} may not be read: {error}") from None
        return document.get("data") or {}

    async def _probe(self, client: Client, now: float) -> None:
        """Ask the facts once after opening, and again while they fail; at rest they are left alone."""
        if self._facts.tried and self._facts.error is None:
            return
        if self._probed_at is not None and now - self._probed_at < PROBE_EVERY_S:
            return
        self._probed_at = now
        try:
            await client.facts.read_header(PROBE_ID)
            await client.facts.resolved(PROBE_ID, [PROBE_ID])  # it lies in a container of its own
        except PortError as error:
            self.report(error)
        else:
            self.report(None)

    async def _in_flight(self, client: Client) -> int | None:
        try:
            held = await client.coordination.heartbeats(client.queue_name)
        except PortError as error:
            self._coordination_error = str(error)
            return None
        self._coordination_error = ""
        return sum(held.values())

    def _tell(self) -> None:
        before = self.health
        self.health = self._health()
        if self.health.reachable is not before.reachable and self.health.reachable is not None:
            _log.info("backend of a pool in %s: %s", self.namespace, self.health.message)

    def _health(self) -> BackendHealth:
        if self._settings_problem is not None:
            return self._settings_problem
        now = self.clock.monotonic()
        error = self._queue.failure(now) or self._facts.failure(now)
        if error is not None:
            refused = isinstance(error, BackendRefusedError)
            return BackendHealth(False, "BackendRefused" if refused else "BackendUnreachable", str(error))
        if not self._facts.tried:
            return BackendHealth()
        return BackendHealth(True, REACHABLE.reason, REACHABLE.message, self._coordination_error)


def _value(secret: Mapping[str, str], name: str, key: str) -> str:
    if key not in secret:
        raise SecretMissingError(f"Secret {name} has no key {key}")
    try:
        return base64.b64decode(secret[key], validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        raise SecretMissingError(f"key {key} of Secret {name} is no text") from None

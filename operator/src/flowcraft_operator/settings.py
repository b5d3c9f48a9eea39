"""The operator's own settings: environment variables, read and checked once, with one clear error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flowcraft_operator.manifests.backend_sources import (
    BACKEND_SETTINGS,
    COSMOS_CONNECTION_STRING,
    REDIS_URL,
    STORAGE_CONNECTION_STRING,
)

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS: Final = ("json", "text")

_OTHER_NAMES: Final = {
    STORAGE_CONNECTION_STRING: "AZURE_STORAGE_CONNECTION_STRING",
    COSMOS_CONNECTION_STRING: "COSMOS_DB_CONNECTION_STRING",
    REDIS_URL: "REDIS_CONNECTION_STRING",
}
"""The names that the runtime accepts as well, where its own are not set."""

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


class SettingsError(ValueError):
    """Settings that cannot be used; the text has one line for each of them."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """How this operator works.

    Attributes:
        watch_namespaces: The namespaces that are looked after; empty is all of them.
        backend_defaults: Connection settings for pools that do not give their own, by `FLOWCRAFT_*` name.
        health_port: Port of `/livez`, `/readyz` and `/metrics`; 0 takes a free one.
        run_workers: WorkflowRuns that are worked on at once.
        status_poll_s: Seconds between looks at changed run headers, while runs are active.
        status_sweep_s: Seconds between looks at every active run's header.
        deletion_grace_s: Seconds that the deletion of a run waits for its backend to take the cancellation.
        quiet_reconciliation_s: Seconds between reconciliations of a pool in which nothing is going on.
        log_level: The least important messages that are logged.
        log_format: `json`, or `text` for people.
    """

    watch_namespaces: tuple[str, ...] = ()
    backend_defaults: Mapping[str, str] = field(default_factory=dict)
    health_port: int = 8080
    run_workers: int = 16
    status_poll_s: float = 5.0
    status_sweep_s: float = 60.0
    deletion_grace_s: float = 60.0
    quiet_reconciliation_s: float = 3600.0
    log_level: str = "INFO"
    log_format: str = "json"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> OperatorSettings:
        """Read all settings.

        Raises:
            SettingsError: some have values that they cannot have; all of them are named.
        """
        reader = _Reader(environment)
        settings = cls(
            watch_namespaces=reader.namespaces("FLOWCRAFT_WATCH_NAMESPACES"),
            backend_defaults=_backend_defaults(environment),
            health_port=int(reader.number("FLOWCRAFT_HEALTH_PORT", 8080, 0, 65535)),
            run_workers=int(reader.number("FLOWCRAFT_RUN_WORKERS", 16, 1, 256)),
            status_poll_s=reader.number("FLOWCRAFT_STATUS_POLL_S", 5.0, 0.1, 3600),
            status_sweep_s=reader.number("FLOWCRAFT_STATUS_SWEEP_S", 60.0, 1, 3600),
            deletion_grace_s=reader.number("FLOWCRAFT_DELETION_GRACE_S", 60.0, 0, 3600),
            quiet_reconciliation_s=reader.number("FLOWCRAFT_QUIET_RECONCILIATION_S", 3600.0, 1, 86_400),
            log_level=reader.choice("FLOWCRAFT_LOG_LEVEL", "INFO", LOG_LEVELS),
            log_format=reader.choice("FLOWCRAFT_LOG_FORMAT", "json", LOG_FORMATS),
        )
        if reader.problems:
            raise SettingsError("\n".join(reader.problems))
        return settings


def _backend_defaults(environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name in BACKEND_SETTINGS:
        value = environment.get(name) or environment.get(_OTHER_NAMES.get(name, ""))
        if value and value.strip():
            found[name] = value.strip()
    return found


class _Reader:
    """Takes settings out of the environment and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def number(self, name: str, default: float, least: float, most: float) -> float:
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            self.problems.append(f"{name} is {text!r}; it must be a number from {least:g} to {most:g}")
            return default
        return value

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        text = self._environment.get(name, "").strip()
        found = next((each for each in choices if each.lower() == text.lower()), None)
        if text and found is None:
            self.problems.append(f"{name} is {text!r}; it must be one of {', '.join(choices)}")
        return found or default

    def namespaces(self, name: str) -> tuple[str, ...]:
        names = [each.strip() for each in self._environment.get(name, "").split(",")]
        for each in names:
            if each and not _NAMESPACE.match(each):
                self.problems.append(f"{name} names {each!r}, which is no name of a namespace")
        return tuple(dict.fromkeys(each for each in names if each))

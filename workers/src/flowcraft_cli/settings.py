"""Settings: `FLOWCRAFT_*` variables, with the command's options on top of them.

The fields of `Settings` and the list `CONNECTIONS` are all there are: the reference in `docs/` is generated
from them. What a connection may hold is checked where it is used, in the Azure backend.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints

from flowcraft_cli.usage import UsageError

PREFIX: Final = "FLOWCRAFT_"
BACKENDS: Final = ("embedded", "azure")
LOG_FORMATS: Final = ("auto", "json", "text")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Connection:
    """A variable that the Azure backend reads.

    Attributes:
        variables: Its names; the first that is set counts.
        text: What it holds.
        default: What counts when none is set.
        secret: It must never be printed.
        chooses: Setting it says that runs live on Azure.
    """

    variables: tuple[str, ...]
    text: str
    default: str = ""
    secret: bool = False
    chooses: bool = False


CONNECTIONS: Final = (
    Connection(
        ("FLOWCRAFT_QUEUE_CONNECTION_STRING", "AZURE_STORAGE_CONNECTION_STRING"),
        "Connection string of the storage account that holds the queue.",
        secret=True,
        chooses=True,
    ),
    Connection(
        ("FLOWCRAFT_QUEUE_ACCOUNT_URL",),
        "Address of the storage account's queue service, instead of a connection string: sign-in with the "
        "identity.",
        chooses=True,
    ),
    Connection(
        ("FLOWCRAFT_QUEUE_BASE64",),
        "`true` sends messages as base64, for readers such as Azure Functions; both forms are always read.",
        "false",
    ),
    Connection(
        ("FLOWCRAFT_BLOB_CONNECTION_STRING",),
        "Connection string of the storage account that holds large values; by default that of the queue.",
        secret=True,
    ),
    Connection(
        ("FLOWCRAFT_BLOB_ACCOUNT_URL",),
        "Address of a storage account's blob service, instead of a connection string: sign-in with the "
        "identity.",
    ),
    Connection(("FLOWCRAFT_BLOB_CONTAINER",), "Blob container of large values.", "flowcraft-values"),
    Connection(
        ("FLOWCRAFT_COSMOS_CONNECTION_STRING", "COSMOS_DB_CONNECTION_STRING"),
        "Connection string of the Cosmos DB account.",
        secret=True,
        chooses=True,
    ),
    Connection(
        ("FLOWCRAFT_COSMOS_ENDPOINT",),
        "Address of the Cosmos DB account, instead of a connection string; without a key: sign-in with the "
        "identity.",
        chooses=True,
    ),
    Connection(("FLOWCRAFT_COSMOS_KEY",), "Key that belongs to the endpoint.", secret=True),
    Connection(("FLOWCRAFT_COSMOS_DATABASE",), "Name of the database.", "flowcraft-db"),
    Connection(
        ("FLOWCRAFT_COSMOS_CONTEXT_CONTAINER",), "Container of node records and context keys.", "contexts"
    ),
    Connection(("FLOWCRAFT_COSMOS_STATUS_CONTAINER",), "Container of run headers.", "statuses"),
    Connection(
        ("FLOWCRAFT_REDIS_URL", "REDIS_CONNECTION_STRING"),
        "Address of Redis: `redis://...`, or `rediss://...` for TLS; the portal's `host:port,password=...` "
        "works too.",
        secret=True,
    ),
    Connection(
        ("FLOWCRAFT_REDIS_CLUSTER",),
        "`true` when the address is of a cluster (Azure Managed Redis with the OSS clustering policy).",
        "false",
    ),
    Connection(
        ("FLOWCRAFT_IDENTITY_CLIENT_ID",), "Which managed identity signs in, where the machine has several."
    ),
)


def _setting(default: Any, text: str, *, choices: tuple[str, ...] = (), least: float | None = None) -> Any:
    """A field that is read from the variable of its name."""
    return dataclasses.field(default=default, metadata={"text": text, "choices": choices, "least": least})


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command works with; `None` is "not given"."""

    backend: str | None = _setting(
        None,
        "Where runs live. Without it: `azure` if a connection to queue or Cosmos DB is set, else `embedded`.",
        choices=BACKENDS,
    )
    db: Path = _setting(  # noqa: RUF009  a path does not change
        Path(".flowcraft/runs.db"),
        "The file of the embedded backend, on a local disk: a network file system is refused.",
    )
    queue: str = _setting("flowcraft", "The queue that a worker takes from, and that runs are started in.")
    app: str | None = _setting(None, "The application of `flowcraft worker` and `run`, as module:attribute.")
    concurrency: int = _setting(16, "Jobs that one worker runs at a time.", least=1)
    max_deliveries: int = _setting(
        5, "Deliveries of a job that end without a word (crashes) until its node fails as poison.", least=1
    )
    visibility_timeout_s: float = _setting(
        60.0, "Seconds after which the job of a crashed worker is given to another one.", least=1.0
    )
    drain_s: float = _setting(
        25.0, "Seconds in which a stopping worker lets its jobs finish before it gives them back.", least=0.0
    )
    reconcile_interval_s: float | None = _setting(
        None,
        "Seconds between a worker's own reconciliations; 0 is never. Without it: 60 on the embedded backend, "
        "never on Azure, where the operator does it.",
        least=0.0,
    )
    stalled_threshold_s: float = _setting(
        300.0, "Seconds without a change after which a worker's reconciliation looks at a run.", least=1.0
    )
    webhook_url: str = _setting(
        "",
        "Where callers of webhooks send their answers: an address to which run id, node key and token are "
        "appended as a path, or one with `{runId}`, `{nodeKey}` and `{token}` in it. What listens there "
        "gives each call on as a decision. Without it webhooks have no address: `flowcraft decide` answers.",
    )
    health_port: int | None = _setting(
        None, "Port of a worker's `/livez`, `/readyz` and `/metrics`; without it, none is opened.", least=0
    )
    health_host: str = _setting(
        "0.0.0.0",  # noqa: S104  probes come from outside the pod
        "Address that the health port listens on.",
    )
    log_format: str = _setting(
        "auto", "`json`, `text`, or `auto`: text on a terminal, JSON elsewhere.", choices=LOG_FORMATS
    )
    log_level: str = _setting("info", "The least important messages that are logged.", choices=LOG_LEVELS)

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """Settings from the environment; what is ``given`` and not None (the command's options) wins.

        Raises:
            UsageError: a value is not one that the setting can have.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for each in described():
            chosen = given.get(each.field)
            if chosen is None:
                chosen = environment.get(each.variable) or None
            if chosen is not None:
                values[each.field] = each.parse(chosen)
        if values.get("backend") is None and _names_azure(environment):
            values["backend"] = "azure"
        return cls(**values)

    @property
    def chosen_backend(self) -> Literal["embedded", "azure"]:
        """The backend that was asked for, or that the connections speak for."""
        return "azure" if self.backend == "azure" else "embedded"


@dataclass(frozen=True, slots=True)
class DescribedSetting:
    """One setting as users see it: its variable and what it may hold."""

    field: str
    variable: str
    text: str
    default: Any
    kind: type
    choices: tuple[str, ...]
    least: float | None

    def parse(self, value: Any) -> Any:
        """Read a value.

        Raises:
            UsageError: the setting cannot have it.
        """
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.variable} is {value!r}; use one of {', '.join(self.choices)}")
        try:
            parsed = self.kind(value)
        except ValueError:
            raise UsageError(f"{self.variable} is {value!r}; it must be a number") from None
        if self.least is not None and not parsed >= self.least:
            raise UsageError(f"{self.variable} is {value!r}; it must be at least {self.least:g}")
        return parsed


def described() -> Iterator[DescribedSetting]:
    """Every setting, in the order in which people read about them."""
    hints = get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        about = field.metadata
        yield DescribedSetting(
            field=field.name,
            variable=PREFIX + field.name.upper(),
            text=about["text"],
            default=field.default,
            kind=_kind(hints[field.name]),
            choices=about["choices"],
            least=about["least"],
        )


def secret_values(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """What of the environment must never be printed, the longest first."""
    environment = os.environ if environment is None else environment
    names = [name for each in CONNECTIONS if each.secret for name in each.variables]
    return tuple(sorted({value for name in names if (value := environment.get(name))}, key=len, reverse=True))


def _names_azure(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for each in CONNECTIONS if each.chooses for name in each.variables)


def _kind(hint: Any) -> type:
    """The type that a text is turned into: that of the field, without its None."""
    for kind in (Path, int, float):
        if hint is kind or hint == kind | None:
            return kind
    return str

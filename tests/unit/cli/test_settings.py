"""Settings: variables, fallbacks, what they choose, and what must never be printed."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowcraft_azure.settings as azure
from flowcraft_cli.settings import CONNECTIONS, Settings, described, secret_values
from flowcraft_cli.usage import UsageError


def test_the_embedded_backend_is_the_default() -> None:
    settings = Settings.read({})

    assert settings.chosen_backend == "embedded"
    assert settings.db == Path(".flowcraft/runs.db")
    assert settings.queue == "flowcraft"


@pytest.mark.parametrize(
    "name", [name for each in CONNECTIONS if each.chooses for name in each.variables], ids=str
)
def test_a_connection_chooses_azure_and_an_option_overrules_it(name: str) -> None:
    assert Settings.read({name: "something"}).chosen_backend == "azure"
    assert Settings.read({name: "something"}, backend="embedded").chosen_backend == "embedded"
    assert Settings.read({name: "something", "FLOWCRAFT_BACKEND": "embedded"}).chosen_backend == "embedded"


def test_an_option_wins_over_its_variable_and_an_empty_variable_is_none() -> None:
    environment = {"FLOWCRAFT_CONCURRENCY": "4", "FLOWCRAFT_QUEUE": "", "FLOWCRAFT_DRAIN_S": "0.5"}
    settings = Settings.read(environment, concurrency=8)

    assert (settings.concurrency, settings.queue, settings.drain_s) == (8, "flowcraft", 0.5)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FLOWCRAFT_CONCURRENCY", "0", "at least 1"),
        ("FLOWCRAFT_CONCURRENCY", "many", "a number"),
        ("FLOWCRAFT_DRAIN_S", "nan", "at least 0"),
        ("FLOWCRAFT_BACKEND", "aws", "one of embedded, azure"),
        ("FLOWCRAFT_LOG_FORMAT", "xml", "one of auto, json, text"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_variable(name: str, value: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is .*{told}"):
        Settings.read({name: value})


def test_the_described_connections_are_those_that_the_backend_reads() -> None:
    described_names = {name for each in CONNECTIONS for name in each.variables}
    values = (value for name, value in vars(azure).items() if name.isupper())
    flat = (item for value in values for item in (value if isinstance(value, tuple) else (value,)))
    read = {item for item in flat if isinstance(item, str) and item.startswith("FLOWCRAFT_")}

    assert read - {"FLOWCRAFT_QUEUE"} <= described_names
    assert {name for name in described_names if name.startswith("FLOWCRAFT_")} <= read


def test_every_setting_has_a_text_that_is_a_sentence() -> None:
    texts = [*(each.text for each in described()), *(each.text for each in CONNECTIONS)]

    assert [text for text in texts if not text.endswith(".")] == []


def test_secrets_are_the_values_of_secret_variables_only() -> None:
    environment = {
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=k",
        "FLOWCRAFT_COSMOS_ENDPOINT": "https://a",
        "FLOWCRAFT_REDIS_URL": "redis://:p@h/0",
    }

    assert secret_values(environment) == ("AccountName=a;AccountKey=k", "redis://:p@h/0")

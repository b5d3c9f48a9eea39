from __future__ import annotations

import pytest

from flowcraft_azure import settings as azure
from flowcraft_azure.settings import AzureSettings
from flowcraft_operator.manifests import backend_sources as names
from flowcraft_operator.settings import OperatorSettings, SettingsError


def test_an_empty_environment_is_enough() -> None:
    assert OperatorSettings.from_environment({}) == OperatorSettings()


def test_everything_can_be_set() -> None:
    settings = OperatorSettings.from_environment(
        {
            "FLOWCRAFT_WATCH_NAMESPACES": " shop, billing ,shop",
            "FLOWCRAFT_HEALTH_PORT": "9000",
            "FLOWCRAFT_LOG_LEVEL": "debug",
            "FLOWCRAFT_LOG_FORMAT": "TEXT",
            "FLOWCRAFT_STATUS_POLL_S": "2.5",
            "FLOWCRAFT_REDIS_URL": " redis://r ",
        }
    )
    assert settings.watch_namespaces == ("shop", "billing")
    assert (settings.health_port, settings.status_poll_s) == (9000, 2.5)
    assert (settings.log_level, settings.log_format) == ("DEBUG", "text")
    assert settings.backend_defaults == {"FLOWCRAFT_REDIS_URL": "redis://r"}


def test_the_names_of_the_original_are_taken_where_ours_are_not_set() -> None:
    given = {
        "AZURE_STORAGE_CONNECTION_STRING": "theirs",
        "FLOWCRAFT_COSMOS_CONNECTION_STRING": "ours",
        "COSMOS_DB_CONNECTION_STRING": "theirs",
    }
    assert OperatorSettings.from_environment(given).backend_defaults == {
        "FLOWCRAFT_QUEUE_CONNECTION_STRING": "theirs",
        "FLOWCRAFT_COSMOS_CONNECTION_STRING": "ours",
    }


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        OperatorSettings.from_environment(
            {
                "FLOWCRAFT_HEALTH_PORT": "many",
                "FLOWCRAFT_STATUS_POLL_S": "-1",
                "FLOWCRAFT_LOG_LEVEL": "loud",
                "FLOWCRAFT_WATCH_NAMESPACES": "Shop",
            }
        )
    assert len(str(caught.value).splitlines()) == 4
    assert "FLOWCRAFT_HEALTH_PORT is 'many'; it must be a number from 0 to 65535" in str(caught.value)


def test_the_operator_writes_the_names_that_workers_read() -> None:
    assert names.QUEUE_NAME == azure.QUEUE
    assert azure.QUEUE_CONNECTION[0] == names.STORAGE_CONNECTION_STRING
    assert names.STORAGE_ACCOUNT_URL == azure.QUEUE_ACCOUNT_URL
    assert azure.COSMOS_CONNECTION[0] == names.COSMOS_CONNECTION_STRING
    assert names.COSMOS_ENDPOINT == azure.COSMOS_ENDPOINT
    assert names.COSMOS_KEY == azure.COSMOS_KEY
    assert names.COSMOS_DATABASE == azure.COSMOS_DATABASE
    assert names.CONTEXT_CONTAINER == azure.COSMOS_CONTEXT_CONTAINER
    assert names.STATUS_CONTAINER == azure.COSMOS_STATUS_CONTAINER
    assert azure.REDIS[0] == names.REDIS_URL


def test_a_worker_connects_with_what_the_operator_gives_it() -> None:
    settings = {
        names.QUEUE_NAME: "shop-orders",
        names.STORAGE_ACCOUNT_URL: "https://shop.queue.core.windows.net",
        names.COSMOS_ENDPOINT: "https://shop.documents.azure.com",
        names.COSMOS_DATABASE: "d",
        names.CONTEXT_CONTAINER: "c",
        names.STATUS_CONTAINER: "s",
        names.REDIS_URL: "rediss://:p@r:6380/0",
    }
    read = AzureSettings.from_environment(settings)
    assert (read.queue, read.cosmos_database) == ("shop-orders", "d")
    assert (read.cosmos_context_container, read.cosmos_status_container) == ("c", "s")
    assert read.needs_identity

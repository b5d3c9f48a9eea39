"""Settings: which variable wins, and what a wrong one is told."""

from __future__ import annotations

import pytest

from flowcraft_azure.settings import AzureSettings, AzureSettingsError, is_configured, is_emulator

STORAGE = (
    "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
)
COSMOS = "AccountEndpoint=https://shop.documents.azure.com:443/;AccountKey=c2VjcmV0;"
SEED = {
    "FLOWCRAFT_QUEUE": "orders",
    "AZURE_STORAGE_CONNECTION_STRING": STORAGE,
    "COSMOS_DB_CONNECTION_STRING": COSMOS,
    "REDIS_CONNECTION_STRING": "rediss://:secret@shop.redis.cache.windows.net:6380/0",
}


def test_the_seeds_names_are_enough() -> None:
    settings = AzureSettings.from_environment(SEED)
    assert settings.queue == "orders"
    assert settings.queue_connection_string == STORAGE
    assert settings.cosmos_endpoint == "https://shop.documents.azure.com:443/"
    assert settings.cosmos_key == "c2VjcmV0"
    assert not settings.needs_identity
    assert (
        settings.cosmos_database,
        settings.cosmos_context_container,
        settings.cosmos_status_container,
    ) == (
        "flowcraft-db",
        "contexts",
        "statuses",
    )


def test_own_names_win_over_the_seeds() -> None:
    settings = AzureSettings.from_environment(
        SEED
        | {
            "FLOWCRAFT_QUEUE_CONNECTION_STRING": STORAGE.replace("shop", "other"),
            "FLOWCRAFT_COSMOS_ENDPOINT": "https://other.documents.azure.com/",
            "FLOWCRAFT_COSMOS_DATABASE": "db",
            "FLOWCRAFT_REDIS_URL": "redis://other:6379/1",
        },
        queue="parcels",
    )
    assert settings.queue == "parcels"
    assert "AccountName=other" in settings.queue_connection_string
    assert (settings.cosmos_endpoint, settings.cosmos_key) == ("https://other.documents.azure.com/", "")
    assert settings.redis_url == "redis://other:6379/1"
    assert settings.cosmos_database == "db"
    assert settings.needs_identity


def test_addresses_without_secrets_mean_the_identity() -> None:
    settings = AzureSettings.from_environment(
        {
            "FLOWCRAFT_QUEUE_ACCOUNT_URL": "https://shop.queue.core.windows.net",
            "FLOWCRAFT_COSMOS_ENDPOINT": "https://shop.documents.azure.com:443/",
            "FLOWCRAFT_REDIS_URL": "rediss://shop:10000/0",
            "FLOWCRAFT_IDENTITY_CLIENT_ID": "1234",
        },
        queue="orders",
    )
    assert settings.needs_identity
    assert settings.identity_client_id == "1234"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FLOWCRAFT_QUEUE", "", "set FLOWCRAFT_QUEUE"),
        ("FLOWCRAFT_QUEUE", "Orders", "lower-case"),
        ("FLOWCRAFT_QUEUE", "a--b", "single hyphens"),
        ("AZURE_STORAGE_CONNECTION_STRING", "", "set FLOWCRAFT_QUEUE_CONNECTION_STRING"),
        (
            "AZURE_STORAGE_CONNECTION_STRING",
            "shop",
            "AZURE_STORAGE_CONNECTION_STRING is no connection string",
        ),
        ("COSMOS_DB_CONNECTION_STRING", "", "set FLOWCRAFT_COSMOS_CONNECTION_STRING"),
        ("COSMOS_DB_CONNECTION_STRING", "AccountEndpoint=https://x/;", "COSMOS_DB_CONNECTION_STRING is no"),
        ("COSMOS_DB_CONNECTION_STRING", "AccountEndpoint=x;AccountKey=y;", "https://"),
        ("FLOWCRAFT_COSMOS_ENDPOINT", "shop.documents.azure.com", "FLOWCRAFT_COSMOS_ENDPOINT is no address"),
        ("REDIS_CONNECTION_STRING", "", "set FLOWCRAFT_REDIS_URL"),
        ("REDIS_CONNECTION_STRING", "http://redis", "REDIS_CONNECTION_STRING is no address of Redis"),
        ("REDIS_CONNECTION_STRING", "redis", "rediss://"),
        ("FLOWCRAFT_QUEUE", "orders-poison", "another queue's poison queue"),
        ("FLOWCRAFT_COSMOS_ENDPOINT", "https://[shop", "FLOWCRAFT_COSMOS_ENDPOINT is no address"),
        ("FLOWCRAFT_COSMOS_DATABASE", "a/b", "FLOWCRAFT_COSMOS_DATABASE 'a/b'"),
        ("FLOWCRAFT_COSMOS_STATUS_CONTAINER", "s" * 256, "at most 255"),
        ("COSMOS_DB_CONNECTION_STRING", "AccountEndpoint=https://x;AccountKey=a-half;", "no base64"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line_by_its_name(name: str, value: str, said: str) -> None:
    with pytest.raises(AzureSettingsError) as caught:
        AzureSettings.from_environment(SEED | {name: value})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_secret_is_in_an_error() -> None:
    with pytest.raises(AzureSettingsError) as caught:
        AzureSettings.from_environment(SEED | {"COSMOS_DB_CONNECTION_STRING": "AccountKey=c2VjcmV0;"})
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "rediss://default:Marker/def=@shop:6380/0",
        "rediss://default:1234/Marker=@shop:6380/0",
        "rediss://:Marker/def=@shop:6380",
        "rediss://:Mar[Marker@shop:6380/0",
        "redis://default:Marker",
        "redis://:Ma#Marker@shop:6380/0",
        "shop:6380x,password=Marker",
        "shop:66666,password=Marker",
    ],
)
def test_a_password_that_breaks_its_address_is_not_quoted(address: str) -> None:
    with pytest.raises(AzureSettingsError, match="REDIS_CONNECTION_STRING is no address of Redis") as caught:
        AzureSettings.from_environment(SEED | {"REDIS_CONNECTION_STRING": address})
    assert "Marker" not in str(caught.value)


def test_no_secret_is_in_the_settings_text() -> None:
    shown = repr(AzureSettings.from_environment(SEED))
    assert "c2VjcmV0" not in shown
    assert "secret" not in shown
    assert "shop.documents.azure.com" in shown


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("shop.redis.cache.windows.net:6380,password=a+b=,ssl=True,abortConnect=False",
         "rediss://:a%2Bb%3D@shop.redis.cache.windows.net:6380/0"),
        ("localhost:6379", "redis://localhost:6379/0"),
    ],
)  # fmt: skip
def test_redis_is_read_as_a_url_and_as_the_portal_writes_it(text: str, url: str) -> None:
    assert AzureSettings.from_environment(SEED | {"REDIS_CONNECTION_STRING": text}).redis_url == url


@pytest.mark.parametrize(
    ("given", "url", "cluster"),
    [
        ("rediss://shop:10000/0?cluster=true", "rediss://shop:10000/0", True),
        ("rediss://:p%2Fw@shop:10000/0?cluster=false&health_check_interval=9",
         "rediss://:p%2Fw@shop:10000/0?health_check_interval=9", False),
    ],
)  # fmt: skip
def test_the_address_may_say_that_it_is_of_a_cluster(given: str, url: str, cluster: bool) -> None:
    settings = AzureSettings.from_environment(SEED | {"REDIS_CONNECTION_STRING": given})
    assert (settings.redis_url, settings.redis_cluster) == (url, cluster)


def test_a_process_without_any_service_is_meant_to_run_embedded() -> None:
    assert not is_configured({"REDIS_CONNECTION_STRING": "redis://localhost"})
    assert is_configured({"COSMOS_DB_CONNECTION_STRING": COSMOS})
    assert is_configured({"FLOWCRAFT_QUEUE_ACCOUNT_URL": "https://x"})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://127.0.0.1:8081/", True),
        ("https://localhost:8081/", True),
        ("http://emulators.flowcraft.svc:8081/", True),
        ("https://shop.documents.azure.com:443/", False),
    ],
)
def test_stand_ins_are_told_by_their_address(url: str, expected: bool) -> None:
    assert is_emulator(url) is expected


def test_large_values_go_to_the_account_of_the_queue() -> None:
    settings = AzureSettings.from_environment(SEED)
    assert settings.blob_connection_string == STORAGE
    assert settings.blob_container == "flowcraft-values"
    identity = {name: value for name, value in SEED.items() if name != "AZURE_STORAGE_CONNECTION_STRING"}
    identity["FLOWCRAFT_QUEUE_ACCOUNT_URL"] = "https://shop.queue.core.windows.net"
    assert AzureSettings.from_environment(identity).blob_account_url == "https://shop.blob.core.windows.net"


def test_large_values_may_have_an_account_and_container_of_their_own() -> None:
    own = {
        "FLOWCRAFT_BLOB_ACCOUNT_URL": "https://big.blob.core.windows.net",
        "FLOWCRAFT_BLOB_CONTAINER": "big",
    }
    settings = AzureSettings.from_environment(SEED | own)
    assert (settings.blob_connection_string, settings.blob_account_url, settings.blob_container) == (
        "",
        "https://big.blob.core.windows.net",
        "big",
    )
    assert settings.needs_identity


def test_an_account_of_queues_alone_has_no_place_for_large_values() -> None:
    queues = "AccountName=shop;AccountKey=c2VjcmV0;QueueEndpoint=http://127.0.0.1:10001/shop;"
    settings = AzureSettings.from_environment(SEED | {"AZURE_STORAGE_CONNECTION_STRING": queues})
    assert not settings.has_blobs

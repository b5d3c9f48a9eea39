"""What is said of containers that exist already."""

from __future__ import annotations

from typing import Any

import pytest

from flowcraft_azure.provision import differences, indexing_policy

GOOD: dict[str, Any] = {
    "partitionKey": {"paths": ["/runId"], "kind": "Hash"},
    "indexingPolicy": indexing_policy("status"),
}


def test_a_container_made_by_us_differs_in_nothing() -> None:
    assert differences(GOOD, "status") == []


def test_the_default_index_of_everything_is_good_enough() -> None:
    everything = {"indexingMode": "consistent", "includedPaths": [{"path": "/*"}]}
    assert differences(GOOD | {"indexingPolicy": everything}, "status") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"partitionKey": {"paths": ["/id"]}}, "the partition key is /id, not /runId"),
        ({"defaultTtl": 3600}, "time to live"),
        ({"defaultTtl": -1}, "time to live"),
        ({"indexingPolicy": {"indexingMode": "none"}}, "not consistent"),
        ({"indexingPolicy": {"includedPaths": [{"path": "/queue/?"}]}}, "/status/?"),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], said: str) -> None:
    (found,) = differences(GOOD | change, "status")
    assert said in found

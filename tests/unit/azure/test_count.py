"""Requests, told apart by what they do."""

from __future__ import annotations

import pytest

from flowcraft_azure import scripts
from flowcraft_azure.count import (
    COSMOS,
    REDIS,
    RequestCounter,
    cosmos_operation,
    queue_operation,
    redis_operation,
)

HOST = "https://shop.queue.core.windows.net"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/orders/messages?messagettl=-1", "send"),
        ("POST", "/orders-poison/messages", "send poison"),
        ("GET", "/orders/messages?numofmessages=32", "receive"),
        ("GET", "/orders/messages?numofmessages=32&peekonly=true", "peek"),
        ("PUT", "/orders/messages/1?popreceipt=x", "update"),
        ("DELETE", "/orders/messages/1?popreceipt=x", "delete"),
        ("GET", "/orders?comp=metadata", "get queue"),
        ("PUT", "/devstoreaccount1/orders", "put queue"),
    ],
)
def test_requests_of_the_queue(method: str, path: str, expected: str) -> None:
    assert queue_operation(method, HOST + path, {}) == expected


def test_requests_of_cosmos() -> None:
    headers = {
        "x-ms-thinclient-proxy-resource-type": "docs",
        "x-ms-thinclient-proxy-operation-type": "Batch",
    }
    assert cosmos_operation("POST", "https://x/dbs/d/colls/contexts/docs/", headers) == "Batch contexts"
    assert cosmos_operation("GET", "https://x/", {}) == "GET account"


def test_commands_of_redis() -> None:
    assert redis_operation(b"*2\r\n$4\r\nMGET\r\n$1\r\nk\r\n") == "MGET"
    packed = [b"*3\r\n$7\r\nEVALSHA\r\n$40\r\n", scripts.CLAIM.sha.encode() + b"\r\n", b"$1\r\n1\r\n"]
    assert redis_operation(packed) == "claim"


def test_totals_leave_out_what_opens_connections_to_redis() -> None:
    counter = RequestCounter()
    for operation in ("HELLO", "CLIENT", "claim", "claim", "PUBLISH"):
        counter.add(REDIS, operation)
    counter.add(COSMOS, "Create contexts")
    assert counter.total(REDIS) == 3
    assert counter.total(COSMOS) == 1
    assert counter.by_operation(REDIS)["claim"] == 2
    counter.clear()
    assert counter.total(REDIS) == 0

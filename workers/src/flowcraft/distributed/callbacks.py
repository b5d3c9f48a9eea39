"""Addresses of webhooks: made from a setting, and told apart by tokens that nobody can guess."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import quote

from flowcraft.records import NodeRecord

PLACES = ("{runId}", "{nodeKey}", "{token}")
"""What the setting may hold; without any of them, they are appended as a path."""


def webhook_address(url: str, run_id: str, node_key: str, token: str) -> str:
    """Where a webhook's caller sends its answer; empty where no address is set up.

    Args:
        url: The setting: ``https://hooks.example.com/answer`` or ``https://…?run={runId}&node={nodeKey}&t={token}``.
        run_id: The run.
        node_key: The node key that waits.
        token: Of this wait alone.
    """
    if not url:
        return ""
    if not any(place in url for place in PLACES):
        url = "/".join((url.rstrip("/"), *PLACES))
    for place, value in zip(PLACES, (run_id, node_key, token), strict=True):
        url = url.replace(place, quote(value, safe=""))
    return url


def is_token_of(record: NodeRecord, token: str) -> bool:
    """Whether a caller was given the address of this wait; a wrong token takes as long as the right one."""
    told: Any = (record.waits_for or {}).get("token")
    return isinstance(told, str) and hmac.compare_digest(told.encode(), token.encode())

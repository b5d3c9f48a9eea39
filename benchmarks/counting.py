"""Requests as a lap tells them."""

from __future__ import annotations

from typing import Final

from flowcraft_azure.count import COSMOS, QUEUE, REDIS, RequestCounter

SERVICES: Final = (COSMOS, QUEUE, REDIS)


def counted(counter: RequestCounter) -> dict[str, dict[str, int]]:
    """What was sent, by service and operation."""
    return {service: dict(counter.by_operation(service)) for service in SERVICES}

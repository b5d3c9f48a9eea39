"""What the engine needs of the world, one Protocol a file; the docstring of each is its contract.

Every backend (embedded, Azure, simulated) passes the same suite in ``tests/contract``.
"""

from flowcraft.ports.clock import Clock
from flowcraft.ports.coordination import Arrival, Claim, ClaimRequest, Coordination, Discharge, JoinArrival
from flowcraft.ports.facts import (
    Commit,
    ContextWrite,
    FactStore,
    HeaderQuery,
    Loaded,
    Stored,
    StoredRecord,
)
from flowcraft.ports.queue import Delivery, JobQueue, QueueDepth
from flowcraft.ports.values import ValueStore

__all__ = [
    "Arrival",
    "Claim",
    "ClaimRequest",
    "Clock",
    "Commit",
    "ContextWrite",
    "Coordination",
    "Delivery",
    "Discharge",
    "FactStore",
    "HeaderQuery",
    "JobQueue",
    "JoinArrival",
    "Loaded",
    "QueueDepth",
    "Stored",
    "StoredRecord",
    "ValueStore",
]

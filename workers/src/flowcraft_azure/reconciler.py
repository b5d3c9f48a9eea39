"""The seed's reconciler: finds runs that stand still, and signals what they need to go on."""

from __future__ import annotations

import os
import socket

from azure.cosmos.aio import CosmosClient

from flowcraft.distributed.reconciliation import Reconciler
from flowcraft_azure.adapter import AzureQueueAdapter


def create_azure_reconciler(
    *,
    adapter: AzureQueueAdapter,
    cosmos_client: CosmosClient | None = None,
    cosmos_database_name: str | None = None,
    status_container_name: str | None = None,
    stalled_threshold_seconds: float = 300.0,
) -> Reconciler:
    """Make a reconciler for the runs of the adapter's queue.

    ``await reconciler.run()`` is one pass, to be called every interval; it gives ``stalled_runs``,
    ``reconciled_runs`` and ``failed_runs``. The adapter need not be started: the reconciler executes nothing.

    Args:
        adapter: Whose queue and facts; the three other arguments must name what is its own.
        cosmos_client: As above.
        cosmos_database_name: As above.
        status_container_name: As above.
        stalled_threshold_seconds: A running run untouched for so long is looked at.

    Raises:
        ValueError: database or container are not those of the adapter.
    """
    del cosmos_client
    for given, own, name in (
        (cosmos_database_name, adapter.database_name, "cosmos_database_name"),
        (status_container_name, adapter.status_container_name, "status_container_name"),
    ):
        if given is not None and given != own:
            raise ValueError(f"{name} is {given!r}, but the adapter's is {own!r}")
    return Reconciler(
        ports=adapter,
        holder=f"{socket.gethostname()}-{os.getpid()}",
        stalled_threshold_s=stalled_threshold_seconds,
    )

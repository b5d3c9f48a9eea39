"""The reconciliation of pools: stalled runs found and repaired, and left alone where nothing can stall."""

from __future__ import annotations

import logging
from typing import Final

from flowcraft.distributed.client import Client
from flowcraft.distributed.reconciliation import Reconciler
from flowcraft.ports import Clock, HeaderQuery
from flowcraft_api.pool_status import LastReconciliation
from flowcraft_operator.handlers.pool_state import PoolState
from flowcraft_operator.planning.scaling import Measured

LEASE_S: Final = 120.0
HOLDER: Final = "flowcraft-operator"
ACTIVE: Final = ("running", "awaiting", "paused")

_log = logging.getLogger(__name__)


class PoolReconciliation:
    """Runs a pool's reconciler when it is time.

    A quiet pool (no active header, an empty queue, no active WorkflowRun) is only looked at now and then: for
    retention, and for what nobody foresaw. Whatever is started shows in its queue or as a WorkflowRun.
    """

    def __init__(self, clock: Clock, quiet_interval_s: float) -> None:
        self._clock = clock
        self._quiet_interval_s = quiet_interval_s

    async def run(self, state: PoolState, *, idle: bool) -> bool:
        """One pass if one is due; whether there was one. `idle` says that no WorkflowRun is active.

        Raises:
            PortError: the facts cannot be listed.
        """
        client, spec = state.connection.client, state.spec
        if client is None or spec is None:
            return False
        interval_s = spec.reconciliation.interval.seconds
        seems_quiet = idle and _is_empty(state)
        if state.quiet and seems_quiet:
            interval_s = max(interval_s, self._quiet_interval_s)
        now = self._clock.monotonic()
        if state.reconciled_at is not None and now - state.reconciled_at < interval_s:
            return False
        state.reconciled_at = now
        stats = await self._reconciler(state, client, spec.reconciliation.stalled_threshold.seconds).run()
        if not stats.leader:
            return False
        found = stats.stalled_runs + stats.reconciled_runs + stats.failed_runs
        state.quiet = seems_quiet and not found and not await _has_active(client)
        state.last_reconciliation = LastReconciliation(
            time=self._clock.now(),
            stalled_runs=stats.stalled_runs,
            reconciled_runs=stats.reconciled_runs,
            failed_runs=stats.failed_runs,
        )
        if stats.reconciled_runs:
            _log.info("pool %s/%s: %d runs were repaired", *state.key, stats.reconciled_runs)
        return True

    def _reconciler(self, state: PoolState, client: Client, threshold_s: float) -> Reconciler:
        known = state.reconciler
        if known is None or known.ports is not client or known.stalled_threshold_s != threshold_s:
            known = state.reconciler = Reconciler(
                ports=client, holder=HOLDER, stalled_threshold_s=threshold_s, lease_s=LEASE_S
            )
        return known


def _is_empty(state: PoolState) -> bool:
    """Whether the queue is known to hold nothing; what is not known is not empty."""
    seen = state.measurement
    return isinstance(seen, Measured) and (seen.visible, seen.exact, seen.in_flight, seen.delayed) == (
        0,
        True,
        0,
        0,
    )


async def _has_active(client: Client) -> bool:
    async for page in client.list(HeaderQuery(queue=client.queue_name, statuses=ACTIVE)):
        if page:
            return True
    return False

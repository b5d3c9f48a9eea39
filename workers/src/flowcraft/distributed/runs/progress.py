"""How far a run is: node keys resolved, and node keys known, which loops and nodes that make nodes add to."""

from __future__ import annotations

from typing import Final

from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.runs import header as headers
from flowcraft.engine.children import resolve_all
from flowcraft.engine.making import SCATTER
from flowcraft.engine.plan import Plan
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument

SHOWN_EVERY_S: Final = 10.0
"""How often a worker may write a header only because a run has more node keys."""


class Growth:
    """Node keys that a worker has added to a run, until its header says so."""

    __slots__ = ("_added", "_shown_at")

    def __init__(self) -> None:
        self._added = 0
        self._shown_at: float | None = None

    def add(self, count: int, now: float, *, at_once: bool = True) -> headers.Change | None:
        """Count new node keys; how to show them, if it is time to; ``now`` is monotonic seconds.

        With ``at_once`` the first ones are shown without delay, as those of a batch are worth.
        """
        self._added += count
        if self._shown_at is None and not at_once:
            self._shown_at = now
        if self._shown_at is not None and now - self._shown_at < SHOWN_EVERY_S:
            return None
        added, self._added, self._shown_at = self._added, 0, now
        return lambda header: headers.grown(header, added)


def grows(plan: Plan, header: HeaderDocument) -> bool:
    """Whether a run may have other node keys than one a node."""
    if plan.loops or any(node.definition.uses == SCATTER for node in plan.nodes.values()):
        return True
    return header.get("progress", {}).get("total", 0) > len(plan.nodes)


async def counted(
    ports: Ports, header: HeaderDocument, plan: Plan, session: str = "", *more: NodeRecord
) -> tuple[int, int]:
    """Node keys resolved and known, of a run that grows, by all its records and these."""
    records: dict[str, NodeRecord] = {}
    async for page in ports.facts.records(header["runId"], session):
        records.update((stored.record.key, stored.record) for stored in page)
    records.update((record.key, record) for record in more)
    total = resolve_all(plan, records).total
    return sum(record.resolved for record in records.values()), total

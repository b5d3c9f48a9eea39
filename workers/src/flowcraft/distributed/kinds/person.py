"""Nodes that wait for a decision."""

from __future__ import annotations

from typing import Final

from flowcraft.distributed.kinds.contract import Act, Acting, WaitingKind
from flowcraft.distributed.recording import Turned
from flowcraft.node import NodeResult
from flowcraft.records import NodeRecord


class _Wait:
    """The decision's output and action become its result."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        return await turn.wait(act, "wait")

    async def go_on(self, turn: Acting, act: Act, record: NodeRecord) -> Turned | None:
        if record.decision is None:
            return turn.still(record)
        return await turn.complete(
            act, NodeResult(record.decision.get("output"), record.decision.get("action"))
        )


WAIT: Final[WaitingKind] = _Wait()

"""Nodes that wait for a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from flowcraft.distributed.jobs.kinds.contract import Act, Acting, WaitingKind
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.durations import duration_s
from flowcraft.failures import ErrorDetail
from flowcraft.node import NodeResult
from flowcraft.records import NodeRecord
from flowcraft.times import iso


class _Sleep:
    """Passes its input on after ``params.duration``."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        try:
            nap = timedelta(seconds=duration_s(act.definition.params.get("duration")))
        except ValueError as error:
            return await turn.fail(act, ErrorDetail.of(error))
        return await turn.wait(act, "sleep", iso(act.started + nap))

    async def go_on(self, turn: Acting, act: Act, _record: NodeRecord) -> Turned | None:
        return await turn.complete(act, NodeResult(turn.input(act)))


SLEEP: Final[WaitingKind] = _Sleep()

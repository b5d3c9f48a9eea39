"""Loop controllers: whether a loop goes on is a condition, as that of an edge."""

from __future__ import annotations

from typing import Final

from flowcraft.distributed.jobs.kinds.contract import Act, Acting, WaitingKind
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.engine.choice import loop_result
from flowcraft.engine.inputs import controller_condition
from flowcraft.errors import EvaluationError
from flowcraft.failures import ErrorDetail
from flowcraft.records import NodeRecord


class _LoopController:
    """Decides between its actions ``continue`` and ``break``, and passes its input on; it never waits."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        condition, evaluator = controller_condition(act.definition), turn.services.evaluator
        try:
            result = loop_result(act.key, condition, turn.input(act), act.facts, evaluator)
        except EvaluationError as error:
            return await turn.fail(act, ErrorDetail.of(error))
        return await turn.complete(act, result)

    async def go_on(self, turn: Acting, act: Act, _record: NodeRecord) -> Turned | None:
        return await self.begin(turn, act)


CONTROLLER: Final[WaitingKind] = _LoopController()

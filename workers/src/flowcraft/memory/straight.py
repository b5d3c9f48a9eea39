"""The shortest way through a turn: a node that is one async function, in a run where nothing surrounds it.

It decides as ``Turns`` does for any node, with the same functions; only what cannot occur here is left out:
other kinds, edges with expressions, loops, children, overridden inputs, events and middleware. What does
occur after all (a failure, an action, nodes that the node made) goes on in ``Turns``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from flowcraft.calls import result_of
from flowcraft.cancellation import uncancel
from flowcraft.engine.inputs import node_input
from flowcraft.executor import Surroundings, execute_again
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.program import Program, Step, Straight
from flowcraft.memory.turns import Act, Turns
from flowcraft.node import NodeContext, NodeResult, RunContext
from flowcraft.records import NodeRecord

_NONE: Final[dict[int, Any]] = {}


class StraightTurns:
    """The turns of such nodes in one run."""

    __slots__ = (
        "_around",
        "_dependencies",
        "_ledger",
        "_program",
        "_run_id",
        "_stopped",
        "_turns",
    )

    def __init__(
        self,
        program: Program,
        around: Surroundings,
        run_id: str,
        dependencies: Mapping[str, Any],
        *,
        ledger: Ledger,
        turns: Turns,
        stopped: asyncio.Event,
    ) -> None:
        self._program = program
        self._around = around
        self._run_id = run_id
        self._dependencies = dependencies
        self._ledger = ledger
        self._turns = turns
        self._stopped = stopped

    async def take(self, key: str, step: Step, straight: Straight) -> None:
        """Act on a node key that has no record yet."""
        ledger, around = self._ledger, self._around
        started = ledger.now()
        value = node_input(self._program.plan, key, ledger.facts_of(key, step))
        context = NodeContext(
            input=value,
            params=straight.params,
            context=RunContext(ledger.read),
            run_id=self._run_id,
            node_id=key,
            node_key=key,
            dependencies=self._dependencies,
            cancelled=self._stopped,
        )
        try:
            context.detach(around.serializer, around.logger)
            given = await straight.function(context)
            result = result_of(given, straight.output_type, context)
        except BaseException as error:
            await self._failed(Act(key, step, None, started), value, context, error)
            return
        if self._stopped.is_set():
            uncancel()  # told when it was done
        self._complete(Act(key, step, None, started), result, context.context.writes)

    def _complete(self, act: Act, result: NodeResult, writes: Mapping[str, Any]) -> None:
        key, step, ledger = act.key, act.step, self._ledger
        if result.dynamic_nodes or (result.action is not None and step.planned.outgoing):
            self._turns.complete(act, result, writes, 1)
            return
        assert step.plain is not None  # noqa: S101  it is straight
        record = NodeRecord(
            key,
            key,
            "completed",
            result.output,
            result.action,
            step.plain,
            _NONE,
            1,
            None,
            act.started,
            ledger.now(),
            "",
            "",
            self._seq(step),
        )
        ledger.keep(record, writes)
        if not self._stopped.is_set():
            ledger.route(self._program.onward(key, step.plain))

    def _seq(self, step: Step) -> int:
        """One more than the logical time of what lies before it."""
        records, highest = self._ledger.records, 0
        for source in step.sources:
            if source in records:
                highest = max(highest, records[source].seq)
        return highest + 1

    async def _failed(self, act: Act, value: Any, context: NodeContext, error: BaseException) -> None:
        turns, step = self._turns, act.step
        assert step.code is not None  # noqa: S101  it is straight
        fallback = None if step.fallback is None else turns.work(act.key, step.fallback, value)
        work = turns.work(act.key, step.code, value)
        try:
            outcome = await execute_again(work, self._around, context, error, fallback)
        except asyncio.CancelledError:
            if not self._stopped.is_set():
                raise
            uncancel()
            return
        turns.executed(act, outcome)

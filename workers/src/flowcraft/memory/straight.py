"""The shortest way through a turn: a node that is one async function, in a run where nothing surrounds it.

It decides as ``Turns`` does for any node, with the same functions; only what cannot occur here is left out:
other kinds, edges with expressions, loops, children, overridden inputs, events and middleware. What does
occur after all (a failure, an action, nodes that the node made) goes on in ``Turns``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from flowcraft.calls import result_of
from flowcraft.cancellation import uncancel
from flowcraft.engine.inputs import node_input
from flowcraft.executor import execute_again
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.program import Step, Straight
from flowcraft.memory.turns import Act
from flowcraft.node import NodeContext, NodeResult, RunContext
from flowcraft.records import NodeRecord

if TYPE_CHECKING:
    from flowcraft.memory.run import MemoryRun

_NONE: Final[dict[int, Any]] = {}


async def straight_turn(run: MemoryRun, key: str, step: Step, straight: Straight) -> None:
    """Act on a node key that has no record yet."""
    ledger, surround, stopped = run.ledger, run.surround, run.lanes.stopped
    started = ledger.now()
    value = node_input(run.program.plan, key, ledger.facts_of(key, step))
    context = NodeContext(
        input=value,
        params=straight.params,
        context=RunContext(ledger.read),
        run_id=run.run_id,
        node_id=key,
        node_key=key,
        dependencies=surround.dependencies,
        cancelled=stopped,
    )
    try:
        context.detach(surround.extensions.serializer, surround.extensions.logger)
        given = await straight.function(context)
        result = result_of(given, straight.output_type, context)
    except BaseException as error:
        await _failed(run, Act(key, step, None, started), context, value, error)
        return
    if stopped.is_set():
        uncancel()  # told when it was done
    if result.dynamic_nodes or (result.action is not None and step.planned.outgoing):
        run.turns.complete(Act(key, step, None, started), result, context.context.writes, 1)
        return
    ledger.keep(_record(ledger, step, straight, result, started), context.context.writes)
    if not stopped.is_set():
        ledger.route(run.program.onward(key, straight.taken))


def _record(ledger: Ledger, step: Step, straight: Straight, result: NodeResult, started: str) -> NodeRecord:
    key, records, latest = step.planned.id, ledger.records, 0
    for source in step.sources:
        if source in records:
            latest = max(latest, records[source].seq)
    return NodeRecord(
        key,
        key,
        "completed",
        result.output,
        result.action,
        straight.taken,
        _NONE,
        1,
        None,
        started,
        ledger.now(),
        "",
        "",
        latest + 1,
    )


async def _failed(run: MemoryRun, act: Act, context: NodeContext, value: Any, error: BaseException) -> None:
    turns, step = run.turns, act.step
    assert step.code is not None  # noqa: S101  that is what failed
    fallback = None if step.fallback is None else turns.work(act.key, step.fallback, value)
    work = turns.work(act.key, step.code, value)
    try:
        outcome = await execute_again(work, run.around, context, error, fallback)
    except asyncio.CancelledError:
        if not run.lanes.stopped.is_set():
            raise
        uncancel()
        return
    turns.executed(act, outcome)

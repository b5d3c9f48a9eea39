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
from flowcraft.engine.inputs import input_behind, node_input
from flowcraft.executor import execute_again
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.program import Straight
from flowcraft.memory.settlement import Act
from flowcraft.node import NodeContext, NodeResult, RunContext
from flowcraft.records import NodeRecord

if TYPE_CHECKING:
    from flowcraft.memory.run import MemoryRun

_NONE: Final[dict[int, Any]] = {}


async def straight_turn(run: MemoryRun, key: str, straight: Straight) -> None:
    """Act on a node key that has no record yet."""
    ledger, surround, stopped = run.ledger, run.surround, run.lanes.stopped
    started = ledger.now()
    value = _input(run, key, straight)
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
        await _failed(run, Act(key, straight.step, None, started), context, value, error)
        return
    if stopped.is_set():
        uncancel()  # told when it was done
    if result.dynamic_nodes or (result.action is not None and straight.step.planned.outgoing):
        run.turns.complete(Act(key, straight.step, None, started), result, context.context.writes, 1)
        return
    ledger.keep(_record(ledger, key, straight, result, started), context.context.writes)
    if not stopped.is_set():
        ledger.route(straight.wave or run.program.onward(straight))


def _input(run: MemoryRun, key: str, straight: Straight) -> Any:
    everything = run.ledger.everything
    if straight.edge is not None:
        return input_behind(straight.edge, straight.sources[0], everything)
    return node_input(run.program.plan, key, everything)


def _record(ledger: Ledger, key: str, straight: Straight, result: NodeResult, started: str) -> NodeRecord:
    records, latest = ledger.records, 0
    for source in straight.sources:
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

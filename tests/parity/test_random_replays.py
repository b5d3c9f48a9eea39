"""What random programs tell is what they did: the replay of their events is their result, in every mode."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from tests.parity.behaviour import Traces, act, item
from tests.parity.modes import DECISION
from tests.parity.programs import Program, programs
from tests.parity.test_random_programs import random_programs

from flowcraft import Blueprint, FlowRuntime
from flowcraft.event_bus import EventBus
from flowcraft.events import event_from
from flowcraft.extensions import Extensions
from flowcraft.memory.result import RunResult
from flowcraft.testing import EventLog, Stepper, VirtualClock


def facts(result: RunResult) -> Any:
    """What a run did, without times."""
    records = {
        key: (record.status, record.output, record.action, record.taken, record.values, record.attempt)
        for key, record in result.records.items()
        if record.kind != "retry"  # between its attempts a node has no record that is told
    }
    return result.status, result.output, records, result.context, len(result.errors)


async def carried_out(program: Program) -> tuple[RunResult, RunResult, RunResult]:
    """The program's end, its replay, and its end step by step."""
    log = EventLog()
    runtime = FlowRuntime(
        registry={"act": act, "item": item},
        dependencies={"traces": Traces()},
        extensions=Extensions(events=EventBus(log)),
    )
    blueprint = Blueprint.from_dict(program.blueprint)
    result = await runtime.run(blueprint, program.input, VirtualClock().options(run_id="r"))
    while result.status == "awaiting":
        decisions = dict.fromkeys(result.awaiting, DECISION)
        result = await runtime.resume(result, decisions, VirtualClock().options())
    documents = [event.to_document() for event in log]
    again = runtime.replay(blueprint, map(event_from, documents))
    stepper = Stepper(runtime, blueprint, program.input, VirtualClock().options(run_id="s"))
    while not stepper.done:
        waits = stepper.result is not None and stepper.result.status == "awaiting"
        given = dict.fromkeys(stepper.result.awaiting, DECISION) if waits and stepper.result else {}
        await stepper.next(given)
    assert stepper.result is not None
    return result, again, stepper.result


@given(program=programs(waits=True))
@random_programs(40)
def test_a_replay_of_what_was_told_is_what_was_done(program: Program) -> None:
    result, again, stepped = asyncio.run(carried_out(program))
    assert facts(again) == facts(result)
    if result.status == "completed" and not _races(program):
        assert facts(stepped) == facts(result)


def _races(program: Program) -> bool:
    """Whether what a program comes to depends on which node is faster."""
    return any(node.get("config", {}).get("joinStrategy") == "any" for node in program.blueprint["nodes"])

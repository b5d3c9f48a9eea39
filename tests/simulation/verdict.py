"""What must hold at the end of a simulation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.simulation.ports.facts import Version
from tests.simulation.world import RUN, World

from flowcraft.distributed.message import Message
from flowcraft.engine.plan import Plan
from flowcraft.records import NodeRecord
from flowcraft_api.wire import TERMINAL_STATUSES

PROMPT_S: Final = 600.0
"""Without faults a run is over by then: nobody waits for a message that was given back for long."""


def final_header(world: World) -> dict[str, object]:
    """The newest header, or an empty one."""
    header = world.facts.headers.get(RUN)
    found = header.read("header", header.newest) if header else None
    return found.value if found else {}


def final_records(world: World) -> dict[str, NodeRecord]:
    """The newest record of each node key."""
    run = world.facts.partition(RUN)
    return {
        name[2:]: NodeRecord.from_document(versions[-1].value)
        for name, versions in run.items.items()
        if name.startswith("n:")
    }


def settled(world: World) -> bool:
    """Whether nothing is left to happen."""
    header = final_header(world)
    over = header.get("status") in TERMINAL_STATUSES
    if over and not world.ended_s:
        world.ended_s = world.now
    if not world.acted or world.queue.messages:
        return False
    if over:
        return True
    waits = world.story.status == "awaiting" and header.get("status") in _waiting(world)
    return waits and not list(_listing(world))


def _waiting(world: World) -> set[str]:
    """Statuses of a run that only waits: a lost count hides that until the run is reconciled."""
    return {"awaiting"} if world.plan.calm or world.reconciled else {"awaiting", "running"}


def violations(world: World) -> list[str]:
    """Everything that is not as it must be; empty if all is well."""
    checks = (_defects, _end, _once, _records, _output, _leftovers)
    found = [told for check in checks for told in check(world)]
    if world.plan.calm:
        found += _calm(world)
    return found


def _defects(world: World) -> Iterator[str]:
    yield from world.history.defects
    yield from world.misread
    for error in world.failures():
        yield f"a task ended with {error!r}"


def _end(world: World) -> Iterator[str]:
    header = final_header(world)
    status = header.get("status")
    allowed = {world.story.status}
    if any(act.verb == "cancel" for act in world.story.acts):
        allowed.add("cancelled")
    if world.story.deadline_s is not None:
        allowed.add("failed")
    if "awaiting" in allowed:
        allowed |= _waiting(world)
    if status not in allowed:
        yield f"the run is {status}, not {' or '.join(sorted(allowed))}: {header.get('message', '')}"
    if world.story.status == "awaiting" and status not in TERMINAL_STATUSES:
        yield from _listing(world)


def _listing(world: World) -> Iterator[str]:
    """The header lists what waits: exactly, unless a crash or a race left it so and nobody reconciles."""
    waiting = {record.key for record in final_records(world).values() if not record.resolved}
    listed = {entry["nodeKey"] for entry in final_header(world).get("awaiting", [])}  # type: ignore[attr-defined]
    exact = world.plan.calm or world.reconciled
    if not waiting or (exact and waiting != listed):
        yield f"{sorted(waiting)} wait, {sorted(listed)} are listed"


def _once(world: World) -> Iterator[str]:
    """A terminal status and a resolved record are never written again."""
    header = world.facts.headers.get(RUN)
    versions: list[Version[dict[str, str]]] = header.items["header"] if header else []
    ends = [number for number, one in enumerate(versions) if one.value["status"] in TERMINAL_STATUSES]
    if ends and ends != [len(versions) - 1]:
        yield f"the header was written again after its end: {[one.value['status'] for one in versions]}"
    for name, written in world.facts.partition(RUN).items.items():
        if name.startswith("n:"):
            statuses = [one.value["status"] for one in written]
            if any(status != "awaiting" for status in statuses[:-1]):
                yield f"record {name[2:]} was written after it was resolved: {statuses}"


def _records(world: World) -> Iterator[str]:
    records = final_records(world)
    told = world.story.told
    for key, record in records.items():
        expected = told[key]
        if record.status == "completed":
            if expected.state != "ran":
                yield f"node {key} ran and should be {expected.state}"
            elif expected.certain and record.output != expected.output:
                yield f"node {key} gave {record.output!r} instead of {expected.output!r}"
        elif record.status == "skipped" and expected.state != "skipped":
            yield f"node {key} was skipped and should be {expected.state}"
        elif record.status == "failed" and expected.state != "failed" and not world.story.kills:
            yield f"node {key} failed and should be {expected.state}: {record.error}"
        elif record.status == "awaiting" and final_header(world).get("status") == "completed":
            yield f"node {key} waits in a completed run"
    if final_header(world).get("status") == "completed":
        missing = [key for key in told if key not in records]
        if missing:
            yield f"the run completed without records of {missing}"


def _output(world: World) -> Iterator[str]:
    header = final_header(world)
    if header.get("status") != "completed":
        return
    plan, told = Plan.of(world.story.blueprint), world.story.told
    ends = [key for key, node in plan.nodes.items() if node.terminal and told[key].state == "ran"]
    output = header.get("output")
    if not isinstance(output, dict) or sorted(output) != sorted(ends):
        yield f"the run's output is {output}, of nodes {ends}"
        return
    for key in ends:
        if told[key].certain and output[key] != told[key].output:
            yield f"the run's output of {key} is {output[key]!r} instead of {told[key].output!r}"


def _leftovers(world: World) -> Iterator[str]:
    if not settled(world):
        bodies = [message.body for message in world.queue.messages.values()]
        yield f"not over after {world.now:.0f} s; messages: {bodies}; records: {_states(world)}"
    elif world.plan.calm and (held := sorted(key for _, key in world.coordination.held_claims())):
        yield f"claims are left on {held}"
    if world.queue.poison is not None and world.plan.calm and not world.story.kills:
        yield f"poison: {world.queue.poison.sent}"


def _states(world: World) -> str:
    return ", ".join(f"{key}={record.status}" for key, record in final_records(world).items())


def _calm(world: World) -> Iterator[str]:
    """Without faults nothing is done twice, and nobody else is needed."""
    if world.story.kills:
        return
    drained = any(act.verb == "stop a worker" for act in world.story.acts)
    twice = [f"{key} attempt {attempt}" for (key, attempt), n in world.executions.items() if n > 1]
    if twice and not drained:
        yield f"executed twice without a fault: {twice}"
    sent = Counter((message.node_key, message.alarm) for message in map(Message.parse, world.queue.sent))
    more = sum(act.verb in ("suspend", "stop a worker") for act in world.story.acts)
    again = sum(act.verb == "start again" for act in world.story.acts) + world.story.indecision
    for (key, alarm), count in sent.items():
        allowed = 1 + again + more
        if count > allowed:
            yield f"{count} messages for {key or 'the start'}{' (alarm)' if alarm else ''}"

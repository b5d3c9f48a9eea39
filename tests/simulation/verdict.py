"""What must hold at the end of a simulation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import orjson
from tests.simulation.ports.facts import Version
from tests.simulation.story import Told
from tests.simulation.world import BESIDE, RUN, World

from flowcraft.distributed.message import Message
from flowcraft.engine.children import owner_of
from flowcraft.engine.derivation import resolve
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.engine.resolution import Join, join_state
from flowcraft.large_values import REFERENCE, is_reference
from flowcraft.records import NodeRecord
from flowcraft_api.wire import TERMINAL_STATUSES

PROMPT_S: Final = 900.0
"""Without faults a run is over by then: nobody waits for a message that was given back for long."""


HARMLESS: Final = frozenset({"message twice", "visibility runs out", "hints lost", "message lost"})
"""Faults after which no node runs twice."""
AFTERWARDS_S: Final = 60.0
"""So long after the end of a run no node may begin: workers remember a status for a few seconds only."""
REPAIRED_S: Final = 1200.0
"""What is lost of a run that is busy elsewhere is sent again by then: some full passes of reconciliation."""
BACKLOG: Final = 40
"""Messages that reconciliation may send in the hours without any worker: fewer and fewer."""


_NOBODY: Final = Told("unreached")


def final_header(world: World, run_id: str = RUN) -> dict[str, object]:
    """The newest header, or an empty one."""
    header = world.facts.headers.get(run_id)
    found = header.read("header", header.newest) if header else None
    return found.value if found else {}


def final_records(world: World, run_id: str = RUN) -> dict[str, NodeRecord]:
    """The newest record of each node key."""
    run = world.facts.partition(run_id)
    return {
        name[2:]: _whole(world, run_id, NodeRecord.from_document(versions[-1].value))
        for name, versions in run.items.items()
        if name.startswith("n:")
    }


def _whole(world: World, run_id: str, record: NodeRecord) -> NodeRecord:
    """The record with its output, also where that left its fact."""
    if not is_reference(record.output):
        return record
    return replace(record, output=orjson.loads(world.values.get(run_id, record.output[REFERENCE])))


def settled(world: World) -> bool:
    """Whether nothing is left to happen."""
    header = final_header(world)
    over = header.get("status") in TERMINAL_STATUSES
    if over and not world.ended_s:
        world.ended_s = world.now
    if not world.acted or world.queue.messages:
        return False
    if world.story.beside and final_header(world, BESIDE).get("status") not in TERMINAL_STATUSES:
        return False
    if over:
        return not list(_active_children(world))
    if world.reconciled and world.story.deadline_s is not None:
        return False  # whatever waits: the reconciler ends it
    waits = world.story.status == "awaiting" and header.get("status") in _waiting(world)
    return waits and not list(_listing(world))


def _waiting(world: World) -> set[str]:
    """Statuses of a run that only waits: a lost count hides that until the run is reconciled."""
    return {"awaiting"} if world.plan.calm or world.reconciled else {"awaiting", "running"}


def violations(world: World) -> list[str]:
    """Everything that is not as it must be; empty if all is well."""
    checks = [
        _defects,
        _end,
        _beside,
        _once,
        _pinned,
        _busy,
        _order,
        _records,
        _inputs,
        _output,
        _families,
        _child_runs,
        _leftovers,
    ]
    if not world.plan.storm_s:
        checks += [_poison]
    if _harmless(world):
        checks += [_twice, _afterwards]
    if world.plan.calm:
        checks += [_calm]
    if world.story.late_s:
        checks += [_backlog]
    return [told for check in checks for told in check(world)]


def _harmless(world: World) -> bool:
    """Nothing happened after which a node may rightly run twice: no crash, no claim lost, no store away."""
    return not world.plan.storm_s and all(at.fault in HARMLESS for at in world.struck)


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


def _beside(world: World) -> Iterator[str]:
    """Another run of the same blueprint has nothing of this one, and comes to its own end."""
    if not world.story.beside:
        return
    header, records = final_header(world, BESIDE), final_records(world, BESIDE)
    if header.get("status") != world.story.status:
        yield f"{BESIDE} is {header.get('status')}, not {world.story.status}: {header.get('message', '')}"
    for key, told in world.story.told.items():
        record = records.get(key)
        if record is None:
            if header.get("status") == "completed":
                yield f"{BESIDE} completed without a record of {key}"
        elif record.status == "completed" and told.certain and record.output != told.output:
            yield f"node {key} of {BESIDE} gave {record.output!r} instead of {told.output!r}"


def _listing(world: World) -> Iterator[str]:
    """The header lists what waits: exactly, unless a crash or a race left it so and nobody reconciles."""
    waiting = {
        record.key
        for record in final_records(world).values()
        if not record.resolved and record.kind != "children"  # whoever waits for children is not listed
    }
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


def _pinned(world: World) -> Iterator[str]:
    """The blueprint of a run never changes."""
    for run_id, partition in world.facts.headers.items():
        hashes = [one.value.get("blueprintHash") for one in partition.items["header"]]
        pinned = [found for found in hashes if found]
        if len(set(pinned)) > 1 or hashes[len(hashes) - len(pinned) :] != pinned:
            yield f"the blueprint of run {run_id} was pinned again"


def _busy(world: World) -> Iterator[str]:
    """While one branch is busy, the others are looked after."""
    if not world.story.busy:
        return
    for key in world.story.told.keys() - set(world.story.busy):
        written = world.facts.partition(RUN).items.get(f"n:{key}")
        if written is None or written[-1].at > world.last_fault_s + REPAIRED_S:
            yield f"node {key} was left alone while others were busy"


def _records(world: World) -> Iterator[str]:
    records = final_records(world)
    told = world.story.told
    yield from (f"there is no node key {key}, and it has a record" for key in records.keys() - told.keys())
    for key, record in records.items():
        expected = told.get(key, _NOBODY)
        if record.status == "completed":
            if expected.state != "ran":
                yield f"node {key} ran and should be {expected.state}"
            elif expected.certain and record.output != expected.output:
                yield f"node {key} gave {record.output!r} instead of {expected.output!r}"
        elif record.status == "skipped" and expected.state != "skipped":
            yield f"node {key} was skipped and should be {expected.state}"
        elif record.status == "failed" and expected.state != "failed" and not _may_be_poison(world):
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
    ran = (NodeKey.parse(key) for key, one in told.items() if one.state == "ran" and owner_of(key) is None)
    ends = {key.node: str(key) for key in sorted(ran, key=_place) if plan.nodes[key.node].terminal}
    output = header.get("output")
    if not isinstance(output, dict) or sorted(output) != sorted(ends):
        yield f"the run's output is {output}, of nodes {sorted(ends)}"
        return
    for node_id, key in ends.items():
        if told[key].certain and output[node_id] != told[key].output:
            yield f"the run's output of {node_id} is {output[node_id]!r} instead of {told[key].output!r}"


def _place(key: NodeKey) -> tuple[int, ...]:
    return key.rounds


def _leftovers(world: World) -> Iterator[str]:
    if not settled(world):
        bodies = [message.body for message in world.queue.messages.values()]
        yield f"not over after {world.now:.0f} s; messages: {bodies}; records: {_states(world)}"
    elif world.plan.calm and (held := sorted(key for _, key in world.coordination.held_claims())):
        yield f"claims are left on {held}"


def _states(world: World) -> str:
    return ", ".join(f"{key}={record.status}" for key, record in final_records(world).items())


def _poison(world: World) -> Iterator[str]:
    """One fault or two make no poison."""
    if world.queue.poison is not None and not world.story.kills:
        yield f"poison: {world.queue.poison.sent}"


def _twice(world: World) -> Iterator[str]:
    """A node runs twice only after a crash, or after what keeps nodes from it was lost."""
    if world.story.kills or any(act.verb == "stop a worker" for act in world.story.acts):
        return
    count = Counter((began.run_id, began.key, began.attempt) for began in world.began)
    twice = [f"{key} attempt {attempt}" for (_, key, attempt), times in count.items() if times > 1]
    if twice:
        yield f"executed twice without reason: {twice}"


def _afterwards(world: World) -> Iterator[str]:
    header = world.facts.headers.get(RUN)
    versions = header.items["header"] if header else []
    ends = [one.at for one in versions if one.value["status"] in TERMINAL_STATUSES]
    mine = [began for began in world.began if began.run_id == RUN]
    late = [began.key for began in mine if ends and began.at_s > ends[0] + AFTERWARDS_S]
    if late:
        yield f"began long after the end of the run: {late}"


def _backlog(world: World) -> Iterator[str]:
    sent = [(at, body) for at, body in world.queue.sent_at if at < world.story.late_s]
    if len(sent) > BACKLOG:
        yield f"{len(sent)} messages were sent while there was no worker"


def _order(world: World) -> Iterator[str]:
    """A record appears when the records before it let it: ready joins run, dead ones are skipped."""
    plan, run = Plan.of(world.story.blueprint), world.facts.partition(RUN)
    if plan.loops:
        yield from _order_in_loops(world, plan)
        return
    resolved = {name[2:]: versions[-1] for name, versions in run.items.items() if name.startswith("n:")}
    for key, last in resolved.items():
        if owner_of(key) is not None:
            continue
        first, node = run.items[f"n:{key}"][0].number, plan.nodes[key]
        skipped = last.value["status"] == "skipped"
        states = {
            str(position): position in one.value.get("taken", ())
            for position in node.incoming
            if (one := resolved.get(plan.edges[position].source)) is not None
            and one.number <= first
            and one.value["status"] in ("completed", "skipped")
        }
        state = (
            join_state(states, len(node.incoming), any_join=node.any_join) if node.incoming else Join.READY
        )
        if state is not (Join.DEAD if skipped else Join.READY):
            yield f"node {key} was {last.value['status']} while its edges were {state.value}: {states}"


def _order_in_loops(world: World, plan: Plan) -> Iterator[str]:
    """The same with loops: what is recorded follows from all that was recorded before it."""
    run = world.facts.partition(RUN)
    written = {name[2:]: versions for name, versions in run.items.items() if name.startswith("n:")}
    for key, versions in written.items():
        first, skipped = versions[0].number, versions[-1].value["status"] == "skipped"
        before = {
            other: NodeRecord.from_document(last.value)
            for other, others in written.items()
            if (last := others[-1]).number <= first
            and other != key
            and last.value["status"] in ("completed", "skipped")
            and not (last.number == first and last.value["status"] == "skipped")
        }
        resolution = resolve(plan, before)
        if key not in (resolution.skipped if skipped else resolution.ready):
            status = versions[-1].value["status"]
            yield f"node {key} was {status}, which does not follow from {sorted(before)}"


def _inputs_in_loops(world: World, plan: Plan) -> Iterator[str]:
    """What a node was given came over edges that were taken, from the rounds that they lead from."""
    records = final_records(world)
    for began in world.began:
        key = NodeKey.parse(began.key)
        sources: dict[str, set[str]] = {}
        for position in plan.incoming(began.key):
            hop = plan.hops[position]
            prefix = hop.prefix(key.rounds)
            found = {
                record.output
                for record in records.values()
                if record.node == hop.source
                and NodeKey.parse(record.key).rounds[: len(prefix)] == prefix
                and record.took(position)
            }
            if found:
                sources.setdefault(hop.source, set()).update(found)
        if not sources:
            continue  # a start node
        given, some = began.input, plan.nodes[key.node].any_join
        if not isinstance(given, dict):
            given = {source: given for source, outputs in sources.items() if given in outputs}
        wrong = any(value not in sources.get(source, ()) for source, value in given.items())
        if wrong or not given or (not some and given.keys() != sources.keys()):
            yield f"node {key} was given {began.input!r}, and recorded is {sources!r}"


def _families(world: World) -> Iterator[str]:
    """Children come after their owner's first record and before its last, in lanes; none is lost."""
    run = world.facts.partition(RUN)
    written = {name[2:]: versions for name, versions in run.items.items() if name.startswith("n:")}
    for owner, keys in world.story.families.items():
        if owner not in written:
            if found := [key for key in keys if key in written]:
                yield f"children {found} have records and {owner} has none"
            continue
        last = written[owner][-1]
        first = next((one for one in written[owner] if "children" in one.value), last)
        lanes = first.value["children"]["lanes"] if "children" in first.value else 0
        for place, key in enumerate(keys):
            before = keys[place - lanes] if place >= lanes else None
            if key not in written:
                if last.value["status"] == "completed":
                    yield f"{owner} completed without a record of its child {key}"
                continue
            began, ended = written[key][0], written[key][-1]
            if began.number <= first.number:
                yield f"child {key} was recorded before {owner} made it"
            if last.value["status"] == "completed" and ended.number >= last.number:
                yield f"{owner} completed before its child {key}"
            if before is not None and (before not in written or written[before][-1].number >= began.number):
                yield f"child {key} was recorded before {before}, whose lane it shares"


def child_headers(world: World) -> Iterator[list[Version[dict[str, Any]]]]:
    """All versions of the header of each run that a node started."""
    for run_id, partition in world.facts.headers.items():
        if run_id not in (RUN, BESIDE):
            yield partition.items["header"]


def _active_children(world: World) -> Iterator[str]:
    for versions in child_headers(world):
        header = versions[-1].value
        if header["status"] not in TERMINAL_STATUSES:
            yield header["runId"]


def _child_runs(world: World) -> Iterator[str]:
    """Each child run belongs to a node that told of it, ends once, and with its parent at the latest."""
    for versions in child_headers(world):
        header, run_id = versions[-1].value, versions[-1].value["runId"]
        parent = header["parent"]
        over = final_header(world, parent["runId"]).get("status") in TERMINAL_STATUSES
        record = final_records(world, parent["runId"]).get(parent["nodeKey"])
        if record is not None and (record.waits_for or {}).get("runId") != run_id:
            record = None  # it has another one by now
        ends = [number for number, one in enumerate(versions) if one.value["status"] in TERMINAL_STATUSES]
        if ends and ends != [len(versions) - 1]:
            yield f"the header of child {run_id} was written again after its end"
        if over and not ends:
            yield f"run {parent['runId']} has ended, and its child {run_id} is {header['status']}"
        if record is None:
            if not ends:
                yield f"no node tells of child {run_id}, which is {header['status']}"
        elif record.status == "completed" and header["status"] != "completed":
            yield f"node {record.key} completed, and its child {run_id} is {header['status']}"
        elif ends and not over and record.status == "awaiting":
            yield f"child {run_id} has ended, and node {record.key} still waits for it"


def _may_be_poison(world: World) -> bool:
    """Crashes of workers add up for a node that kills them and for others."""
    return world.story.kills and bool(world.plan.storm_s)


def _inputs(world: World) -> Iterator[str]:
    """What a node was given is what the nodes before it gave, as it is recorded."""
    plan, records = Plan.of(world.story.blueprint), final_records(world)
    if plan.loops:
        yield from _inputs_in_loops(world, plan)
        return
    for began in world.began:
        if owner_of(began.key) is not None or began.run_id != RUN:
            continue
        node = plan.nodes[began.key]
        if node.definition.inputs is not None or not node.incoming:
            continue
        sources = dict.fromkeys(plan.edges[position].source for position in node.incoming)
        outputs = {key: records[key].output for key in sources if key in records}
        given = began.input
        if any(given == output for output in outputs.values()):
            continue
        if not isinstance(given, dict) or any(outputs.get(key) != value for key, value in given.items()):
            yield f"node {began.key} was given {given!r}, and recorded is {outputs!r}"


def _calm(world: World) -> Iterator[str]:
    """Without faults no signal is sent twice."""
    if world.story.kills:
        return
    if world.ended_s > PROMPT_S + world.story.late_s and not world.story.busy:
        yield f"over after {world.ended_s:.0f} s only"
    sent = Counter(
        (message.run_id, message.node_key, message.alarm) for message in map(Message.parse, world.queue.sent)
    )
    more = sum(act.verb in ("suspend", "stop a worker") for act in world.story.acts)
    more += bool(world.story.subflows) * (world.story.deadline_s is not None or len(world.story.acts))
    again = sum(act.verb == "start again" for act in world.story.acts) + world.story.indecision
    tried = {node.id: node.config.max_retries or 1 for node in world.story.blueprint.nodes}
    for (_, key, alarm), count in sent.items():
        allowed = again + more + (tried.get(key, 1) if world.story.subflows else 1)
        if count > allowed:
            yield f"{count} messages for {key or 'the start'}{' (alarm)' if alarm else ''}"

"""Repairing one run: what all its facts imply, written and signalled again.

It evaluates no condition and executes nothing: a run is finished by workers, a repair only makes sure that
they look at it. It may be done twice, or by two at once, without harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flowcraft.distributed.message import Message
from flowcraft.distributed.queue_ports import Ports, hint
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.continuation import is_copying
from flowcraft.distributed.runs.ending import publish_completed, publish_failed
from flowcraft.distributed.runs.families import end_orphan, is_over, orphaned
from flowcraft.distributed.runs.looping import mark_writes, write_marks
from flowcraft.distributed.runs.pinning import Plans
from flowcraft.distributed.runs.takeover import all_records, take_over
from flowcraft.engine.children import resolve_all
from flowcraft.engine.derivation import Resolution
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.marks import ExitMark, exit_name, over_name
from flowcraft.engine.plan import Plan
from flowcraft.engine.subflows import child_of
from flowcraft.node_failures import failure, why_failed
from flowcraft.ports import Commit, Stored
from flowcraft.ports.errors import (
    BackendUnavailableError,
    ConflictError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.records import NodeRecord
from flowcraft.times import iso, parse_time
from flowcraft_api.wire import AwaitingDocument, HeaderDocument

ALARM_GRACE_S: Final = 30.0
"""How late an alarm may be before its message counts as lost."""
SKIPS_PER_COMMIT: Final = 80


@dataclass(frozen=True, slots=True)
class Repair:
    """What one repair of a run did.

    Attributes:
        signalled: Messages sent.
        skipped: Skip records written.
        ended: The run was found at its end, and it was published.
        outrun: The header was changed meanwhile, and does not say what was found.
    """

    signalled: int = 0
    skipped: int = 0
    ended: bool = False
    outrun: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was missing."""
        return bool(self.signalled or self.skipped or self.ended)


_NOTHING = Repair()


async def repair(
    ports: Ports,
    run_id: str,
    plans: Plans | None = None,
    *,
    may_signal: bool = True,
    alarm_grace_s: float = ALARM_GRACE_S,
) -> Repair:
    """Derive what is missing of one run, and write or signal it; ``may_signal`` False only writes facts."""
    stored = await ports.facts.read_header(run_id)
    if stored is None or headers.is_terminal(stored.document) or headers.is_of_newer_format(stored.document):
        return _NOTHING
    if await _is_out_of_time(ports, stored, look_up=may_signal):
        return Repair(ended=True)
    if stored.document.get("status") == "paused":
        return _NOTHING  # resuming derives and signals at once
    if not headers.is_pinned(stored.document):
        return await _start_again(ports, stored) if may_signal else _NOTHING
    if is_copying(stored.document):
        stored = await take_over(ports, stored)
        if headers.is_terminal(stored.document):
            await hint(ports, run_id)
            return Repair(ended=True)
    return await _derive(ports, stored, plans or Plans(), may_signal=may_signal, alarm_grace_s=alarm_grace_s)


async def _is_out_of_time(ports: Ports, stored: Stored, *, look_up: bool) -> bool:
    """Whether the run had to end: its deadline has passed, or its parent has ended (``look_up`` asks)."""
    if headers.deadline_passed(stored.document, ports.clock.now()):
        await _past_deadline(ports, stored)
        return True
    if look_up and await orphaned(ports, stored.document):
        await end_orphan(ports, stored)
        return True
    return False


async def _derive(
    ports: Ports, stored: Stored, plans: Plans, *, may_signal: bool, alarm_grace_s: float
) -> Repair:
    run_id = stored.document["runId"]
    plan = await plans.of(ports.facts, stored.document)
    records = await all_records(ports, stored)
    resolution = resolve_all(plan, records)
    if resolution.failed:
        await _publish_failure(ports, stored, records, resolution)
        return Repair(ended=True)
    await _write_skips(ports, run_id, plan, resolution.skipped)
    session = await _write_marks(ports, run_id, plan, records, resolution)
    if resolution.ended:
        try:
            await publish_completed(ports, stored, plan, {}, session)
        except StaleReadError:
            return Repair(skipped=len(resolution.skipped))  # the next pass sees what this one knows of
        await hint(ports, run_id)
        return Repair(skipped=len(resolution.skipped), ended=True)
    due = _due(stored.document, records, resolution, ports.clock.now(), alarm_grace_s)
    due += await _told_by_children(ports, stored.document, [records[key] for key in resolution.awaiting])
    held = await _held(ports, run_id, due)
    missing = [message for message in due if message.claim not in held] if may_signal else []
    for message in missing:
        await ports.queue.send(message.to_body())
    said = await _settle(ports, stored, records, resolution, signalled=bool(missing), quiet=not due)
    if missing:
        await hint(ports, f"+{run_id}")
    return Repair(signalled=len(missing), skipped=len(resolution.skipped), outrun=not said)


async def _past_deadline(ports: Ports, stored: Stored) -> None:
    message = f"the run did not finish before its deadline {stored.document.get('deadlineAt')}"
    await publish_failed(ports, stored, reason="DeadlineExceeded", message=message)
    await hint(ports, stored.document["runId"])


async def _start_again(ports: Ports, stored: Stored) -> Repair:
    document = stored.document
    if not document.get("blueprintId"):
        return _NOTHING  # a hand-written header: only its own messages name a blueprint
    await ports.queue.send(Message(document["runId"], document["blueprintId"], check=True).to_body())
    try:  # noted, so that a run that nobody takes is signalled less and less often
        await ports.facts.replace_header(stored, headers.repaired(document, 0, ports.clock.now()))
    except PreconditionFailedError:
        return Repair(signalled=1)  # somebody pinned it just now
    return Repair(signalled=1)


async def _publish_failure(
    ports: Ports, stored: Stored, records: dict[str, NodeRecord], resolution: Resolution
) -> None:
    failed = [records[key] for key in resolution.failed]
    await publish_failed(
        ports,
        stored,
        reason="NodeFailed",
        message=why_failed(failed[0]),
        errors=[failure(record) for record in failed],
        progress=(resolution.resolved, resolution.total),
    )
    await hint(ports, stored.document["runId"])


async def _write_skips(ports: Ports, run_id: str, plan: Plan, skipped: tuple[str, ...]) -> None:
    now = iso(ports.clock.now())
    records = [NodeRecord(key, NodeKey.parse(key).node, "skipped", finished_at=now) for key in skipped]
    for start in range(0, len(records), SKIPS_PER_COMMIT):
        part = records[start : start + SKIPS_PER_COMMIT]
        marks = {mark.key: mark.value for mark in mark_writes(plan, part)}
        await write_marks(ports.facts, run_id, marks, "")  # the edges are dead in any case
        try:
            await ports.facts.commit(run_id, Commit(create=part))
        except ConflictError:
            await _write_one_by_one(ports, run_id, part)


async def _write_marks(
    ports: Ports, run_id: str, plan: Plan, records: Mapping[str, NodeRecord], resolution: Resolution
) -> str:
    """Mark what loops that are over have left open: whoever closed their last round may have died over it.

    These are exits that no round took, as long as somebody waits for them, and at the end of the run the
    number of rounds of loops whose nodes are part of its output. Gives the token that has seen them.
    """
    if not plan.loops:
        return ""
    marks: dict[str, Any] = {}
    for position, prefix in resolution.dead_exits:
        hop = plan.hops[position]
        if not hop.at_once and str(hop.target_key(prefix)) not in records:
            scope = plan.nodes[hop.source].scope
            rounds = (*prefix, *(1 for _ in scope[len(prefix) :]))
            marks[exit_name(position, prefix)] = ExitMark(False, rounds).to_json()
    if resolution.ended:
        marks.update(
            (over_name(place.node, ()), number)
            for place, number in resolution.rounds.items()
            if not place.rounds and not plan.loops[place.node].tight
        )
    return await write_marks(ports.facts, run_id, marks, "")


async def _write_one_by_one(ports: Ports, run_id: str, records: Iterable[NodeRecord]) -> None:
    for record in records:
        try:
            await ports.facts.commit(run_id, Commit(create=[record]))
        except ConflictError:
            continue  # somebody skipped it already


def _due(
    header: HeaderDocument,
    records: dict[str, NodeRecord],
    resolution: Resolution,
    now: datetime,
    alarm_grace_s: float,
) -> list[Message]:
    """What should be moving: ready nodes, decided ones, and those whose alarm is overdue."""
    run_id, blueprint_id = header["runId"], header.get("blueprintId", "")
    due = [Message(run_id, blueprint_id, key, check=True) for key in resolution.ready]
    due += [Message(run_id, blueprint_id, key, woken=True) for key in resolution.woken]
    for key in resolution.awaiting:
        record = records[key]
        wake_at = parse_time(record.wake_at)
        overdue = wake_at is not None and wake_at + timedelta(seconds=alarm_grace_s) <= now
        if record.decision is not None or overdue:
            due.append(Message(run_id, blueprint_id, key, alarm=True))
    return due


async def _told_by_children(
    ports: Ports, header: HeaderDocument, awaiting: Iterable[NodeRecord]
) -> list[Message]:
    """Node keys whose child run has ended, or was never created."""
    waiting = {child_of(record): record.key for record in awaiting if record.kind == "run"}
    over = await is_over(ports, list(waiting))
    run_id, blueprint_id = header["runId"], header.get("blueprintId", "")
    return [Message(run_id, blueprint_id, waiting[child_id], alarm=True) for child_id in over]


async def _held(ports: Ports, run_id: str, due: list[Message]) -> frozenset[str]:
    if not due:
        return frozenset()
    try:
        return await ports.coordination.held(run_id, [message.claim for message in due])
    except BackendUnavailableError:
        return frozenset()


async def _settle(
    ports: Ports,
    stored: Stored,
    records: dict[str, NodeRecord],
    resolution: Resolution,
    *,
    signalled: bool,
    quiet: bool,
) -> bool:
    """Let the header say what was found; False if it was changed meanwhile."""
    now = ports.clock.now()
    awaiting = [awaiting_entry(records[key]) for key in resolution.awaiting]
    progress = (resolution.resolved, resolution.total)
    document = headers.settled(stored.document, awaiting, progress, now, quiet=quiet)
    if signalled:
        document = headers.repaired(document or stored.document, resolution.resolved, now)
    if document is None:
        return True
    try:
        await ports.facts.replace_header(stored, document)
    except PreconditionFailedError:
        return False  # whoever changed it may know more, or less
    await hint(ports, stored.document["runId"])
    return True


def awaiting_entry(record: NodeRecord) -> AwaitingDocument:
    """The entry of an awaiting record in the header's list."""
    entry: AwaitingDocument = {
        "nodeKey": record.key,
        "kind": record.kind or "wait",
        "since": record.started_at,
        "until": record.wake_at,
    }
    told = record.waits_for or {}
    if "runId" in told:
        entry["runId"] = told["runId"]
    if told.get("address"):
        entry["address"] = told["address"]
    return entry

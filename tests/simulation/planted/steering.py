"""Bugs in clients, the reconciler and what workers know of a run's status."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from tests.simulation.planted.patches import Patches, Where, bug
from tests.simulation.planted.wanted import (
    CRASHES,
    acting,
    dead_join,
    decided,
    late,
    sleeps,
    waits_past_deadline,
)

from flowcraft.distributed import client as clients
from flowcraft.distributed import reconciliation, repair
from flowcraft.distributed.client import Client
from flowcraft.distributed.jobs.gathering import Gatherer
from flowcraft.distributed.jobs.opening import Opener
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.pinning import Plans
from flowcraft.engine.children import resolve_all
from flowcraft.engine.derivation import Resolution
from flowcraft.ports import Commit, Stored
from flowcraft.ports.errors import ConflictError, PreconditionFailedError
from flowcraft.records import NodeRecord
from flowcraft_api.wire import TERMINAL_STATUSES


@bug(
    "decided before it waits",
    instead="a decision for a node that does not wait yet is recorded as its result",
    rule="without an awaiting record a decision is refused as not waiting yet",
    marked=True,
)
def _decided_before_it_waits(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def decide(
            self: Client, run_id: str, node_key: str, *, action: str | None = None, output: Any = None
        ) -> None:
            loaded = await self.facts.load(run_id, nodes=[node_key])
            header = await self.facts.read_header(run_id)
            ended = header is not None and headers.is_terminal(header.document)
            if node_key not in loaded.records and header is not None and not ended:
                plan = await Plans().of(self.facts, header.document)
                record = NodeRecord(
                    node_key,
                    node_key,
                    "completed",
                    output=output,
                    action=action,
                    taken=tuple(
                        edge
                        for edge in plan.nodes[node_key].outgoing
                        if plan.edges[edge].action in (None, action)
                    ),
                )
                with suppress(ConflictError):
                    await self.facts.commit(run_id, Commit(create=[record]))
                    return
            await original(self, run_id, node_key, action=action, output=output)

        return decide

    patches.wrap(Client, "decide", around)


@bug(
    "decisions are overwritten",
    instead="a second decision replaces the first one",
    rule="`decide` replaces the awaiting record with If-Match; a decided one is refused",
)
def _decisions_are_overwritten(patches: Patches) -> None:
    async def record(ports: Any, run_id: str, waiting: Any, decision: Any) -> str:
        while True:
            try:
                return str(
                    await ports.facts.commit(
                        run_id, Commit(replace=(waiting, replace(waiting.record, decision=decision)))
                    )
                )
            except PreconditionFailedError:
                found = (await ports.facts.load(run_id, nodes=[waiting.record.key])).records
                waiting = found[waiting.record.key]

    patches.put(clients, "record_decision", record)
    patches.put(clients, "require_same", lambda *_: None)


@bug(
    "decisions are not signalled",
    instead="a decision is committed and the node is not signalled",
    rule="decide commits, then signals, then answers",
    where=Where("calm", told="decisions", story=decided),
)
def _decisions_are_silent(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def decide(self: Client, *args: Any, **named: Any) -> None:
            class Silent:
                async def send(self, *_: Any, **__: Any) -> None:
                    return None

            await original(replace(self, queue=Silent()), *args, **named)  # type: ignore[arg-type]

        return decide

    patches.wrap(Client, "decide", around)


@bug(
    "starts are repeated",
    instead="a start that is repeated writes its header over the one that is there",
    rule="a start is idempotent by its run id",
)
def _starts_are_repeated(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def create(self: Client, document: Any, input_item: Any) -> Stored:
            there = await self.facts.read_header(document["runId"])
            if there is not None:
                with suppress(PreconditionFailedError):
                    await self.facts.replace_header(there, document)
            stored: Stored = await original(self, document, input_item)
            return stored

        return create

    patches.wrap(Client, "_create", around)


@bug(
    "resuming is silent",
    instead="a run that is resumed waits for its messages to come back",
    rule="resuming a paused run derives and signals at once",
    where=Where("calm", told="a pause", story=acting("suspend")),
)
def _resuming_is_silent(patches: Patches) -> None:
    async def nothing(*_: Any, **__: Any) -> Any:
        return repair.Repair()

    patches.put(clients, "repair", nothing)


@bug(
    "ends are not final",
    instead="a run that has ended may end again, otherwise",
    rule="terminal status is final",
    where=Where("calm", told="a cancellation", story=acting("cancel")),
)
def _ends_are_not_final(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def ended(header: Any, status: str, now: Any, **facts: Any) -> Any:
            if header.get("status") in TERMINAL_STATUSES and header.get("status") != status:
                header = {**header, "status": "running"}
            return original(header, status, now, **facts)

        return ended

    patches.wrap(headers, "ended", around)


@bug(
    "workers go on",
    instead="workers do not look at the status of a run they know",
    rule="workers learn of a cancellation at the latest by their next read",
    where=Where("calm", told="a cancellation", story=acting("cancel")),
)
def _workers_go_on(patches: Patches) -> None:
    patches.put(Opener, "_fresh", lambda _self, _run: True)


@bug(
    "old status for the others",
    instead="of several messages one reads the status, and the others go by what is remembered, however old",
    rule="the status is re-read every few seconds",
    where=Where(
        "calm", told="a long pause, a cancellation, and messages hidden beyond it", family="long pause"
    ),
)
def _old_status(patches: Patches) -> None:
    async def read_again(self: Opener, known: Any, blueprint_id: str) -> Any:
        known.stale, known.read_at = False, self.services.clock.monotonic()
        return await self._read(known.run_id, blueprint_id, known)

    patches.put(Opener, "_read_again", read_again)


@bug(
    "deadlines need a worker",
    instead="only workers look at deadlines",
    rule="runs whose `next_check` has passed are due for reconciliation",
    where=Where("storm", told="a deadline, and a node that waits for ever", story=waits_past_deadline),
)
def _deadlines_need_a_worker(patches: Patches) -> None:
    patches.put(repair, "_past_deadline", _no_repair)


async def _no_repair(*_: Any, **__: Any) -> Any:
    return repair.Repair()


@bug(
    "dead paths are not repaired",
    instead="reconciliation signals what is ready and does not write what is skipped",
    rule="reconciliation writes the missing skip records too, transitively",
    marked=True,
    where=Where("pair", CRASHES, "a join that is skipped", dead_join, then=("message lost",)),
)
def _skips_are_not_repaired(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def resolved(plan: Any, records: Any) -> Resolution:
            found: Resolution = original(plan, records)
            ended = found.ended and not found.skipped
            return replace(found, skipped=(), ended=ended)

        return resolved

    patches.wrap(repair, "resolve_all", around)


@bug(
    "reconciliation takes all branches",
    instead="reconciliation takes every edge of a completed node for taken, and workers believe it",
    rule="reconciliation evaluates no condition and runs no branch whose edge is not taken",
    marked=True,
    where=Where("single", ("message lost",)),
)
def _all_branches(patches: Patches) -> None:
    def resolved(plan: Any, records: Any) -> Resolution:
        opened = {
            key: replace(record, taken=plan.nodes[key].outgoing) if record.status == "completed" else record
            for key, record in records.items()
        }
        return resolve_all(plan, opened)

    patches.put(repair, "resolve_all", resolved)
    patches.put(Gatherer, "_ready", lambda _self, _key, _facts: True)


@bug(
    "reconciliation never rests",
    instead="what is ready is signalled in every pass",
    rule="a run is signalled again after twice the time each time, so that a backlog makes no storm",
    where=Where("storm", told="hours without a worker", story=late),
)
def _never_rests(patches: Patches) -> None:
    patches.put(headers, "may_signal", lambda *_: True)
    patches.put(headers, "repaired", lambda header, _done, _now: dict(header))


@bug(
    "busy runs are never looked at",
    instead="only runs that nobody has touched for long are reconciled",
    rule="every active run is due every few thresholds, however recently touched",
    where=Where("single", ("message lost",), "a branch that is busy for long", family="busy", calls=80),
)
def _busy_runs_are_skipped(patches: Patches) -> None:
    patches.put(reconciliation, "FULL_PASS_EVERY", 10**6)


@bug(
    "alarms are trusted",
    instead="reconciliation leaves what sleeps to its alarm, however late",
    rule="runs whose `next_check` passed are due: a lost alarm is sent again",
    where=Where("single", ("message lost",), "a node that sleeps", sleeps),
)
def _alarms_are_trusted(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def due(header: Any, records: Any, resolution: Resolution, now: Any, _grace_s: float) -> Any:
            return original(header, records, resolution, now, 10.0**9)

        return due

    patches.wrap(repair, "_due", around)


@bug(
    "the run of whoever pins last",
    instead="a worker pins its blueprint over the one that is pinned",
    rule="pinning is If-Match; the loser adopts",
    where=Where("calm", told="two workers, each with an edition of its own", family="editions"),
)
def _pinned_last(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def pin_known(self: Opener, stored: Stored, blueprint: Any) -> Any:
            newest = await self.services.facts.read_header(stored.document["runId"])
            return await original(self, Stored(stored.document, newest.etag if newest else ""), blueprint)

        return pin_known

    patches.wrap(Opener, "_pin_known", around)

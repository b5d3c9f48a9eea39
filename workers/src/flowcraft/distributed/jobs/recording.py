"""Committing records: once, with their context and the dead path behind them; or adopting what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from flowcraft.distributed.jobs.gathering import Gatherer
from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.jobs.signalling import Router
from flowcraft.distributed.persistence import persist
from flowcraft.distributed.runs.looping import mark_writes
from flowcraft.distributed.services import Services
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.resolution import Wave, follow
from flowcraft.node import MISSING
from flowcraft.ports import Commit, ContextWrite, StoredRecord
from flowcraft.ports.errors import (
    ConflictError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.records import NodeRecord

INLINE_OPERATIONS: Final = 90
"""Skip records and context writes up to so many go with the record; a batch holds 100 operations."""


@dataclass(frozen=True, slots=True)
class Turned:
    """What a turn came to.

    Attributes:
        record: The node key's record as it is stored now.
        wave: What follows from it; None if it failed or waits, other than for its children.
        adopted: Somebody else, or an earlier delivery, wrote the record.
        due: What the node key waits for has happened already: its alarm is to ring at once.
    """

    record: NodeRecord
    wave: Wave | None
    adopted: bool
    due: bool = False


class Recorder:
    """Commits the records of one delivery."""

    def __init__(self, services: Services, run: Run, token: str, gatherer: Gatherer) -> None:
        self._services = services
        self._run = run
        self._token = token
        self._gatherer = gatherer

    async def commit(
        self, record: NodeRecord, context: Sequence[ContextWrite] = (), replaces: StoredRecord | None = None
    ) -> Turned:
        """Write a record with its context and its dead path, at once; where it exists, adopt what is stored.

        Raises:
            PayloadTooLargeError: the record or its context is over the store's limits.
        """
        if context:
            wrote = dict.fromkeys([*record.wrote, *(write.key for write in context)])
            record = replace(record, wrote=tuple(wrote))
        wave = None
        router = self._router(record.key)
        skips: list[NodeRecord] = []
        if record.resolved and record.status != "failed":
            wave = self._follow(record)
            skips = router.skip_records(wave.skipped)
        user_writes, context = context, [*context, *mark_writes(self._run.plan, [record, *skips])]
        # What does not fit in the batch is recorded before anything arrives, all the same.
        inline = skips if len(skips) + len(context) < INLINE_OPERATIONS else []
        if skips and not inline:  # those of the skipped are written with them
            context = [*user_writes, *mark_writes(self._run.plan, [record])]
        commit = Commit(
            create=inline if replaces else [record, *inline],
            replace=(replaces, record) if replaces else None,
            context=context,
            seq=record.seq,
        )
        try:
            self._gatherer.session = self._run.session = await self._certain(commit)
        except (ConflictError, PreconditionFailedError):
            turned = await self._lost(record, replaces)
            if turned.record.delivery == self._token:  # its own, whose answer was lost
                self._tell(turned.record, user_writes, turned.wave)
            return turned
        if skips and not inline:
            await router.skip(wave.skipped if wave else ())
            self._gatherer.session = router.session
        self._run.keep_marks(context)
        self._tell(record, user_writes, wave)
        if record.resolved:
            self._gatherer.committed(record)
            self._run.keep(record)
        elif record.kind == "children":
            wave = self._first(record)
        for skip in skips:
            self._run.keep(skip)
        return Turned(record, wave, adopted=False)

    def _tell(self, record: NodeRecord, context: Sequence[ContextWrite], wave: Wave | None) -> None:
        tells = self._services.tells(self._run.run_id, self._run.plan.blueprint.id)
        if tells is not None:
            writes = {write.key: MISSING if write.deleted else write.value for write in context}
            tells.recorded(self._run.plan, record, writes)
            tells.skipped(wave.skipped if wave is not None else ())

    def _follow(self, record: NodeRecord) -> Wave:
        family = self._run.owners.of_child(record.key)
        if family is not None:
            return family.follow(record.key)
        return follow(self._run.plan, record.key, record.taken)

    def _first(self, owner: NodeRecord) -> Wave:
        """What an owner signals once its record is there: the children that are ready at once."""
        family = self._run.owners.learn(owner, self._gatherer.session)
        return Wave(family.first() if family else (), (), (), ended=False)

    def _router(self, key: str) -> Router:
        return Router(self._services, self._run, key, self._token, self._gatherer.session)

    async def _certain(self, commit: Commit) -> str:
        """Commit; where nobody knows whether it happened, again: a conflict then shows what is stored."""
        facts, run_id = self._services.facts, self._run.run_id
        return await persist(
            self._services, "commit", lambda: facts.commit(run_id, commit, self._gatherer.session)
        )

    async def _lost(self, wanted: NodeRecord, replaces: StoredRecord | None) -> Turned:
        """Another delivery recorded the node key first (or this one did, unanswered): its record counts."""
        stale = replaces.etag if replaces else None
        for delay_s in (0.0, *STALE_DELAYS_S):
            await self._services.clock.sleep(delay_s)
            loaded = await self._services.facts.load(
                self._run.run_id, nodes=[wanted.key], session=self._gatherer.session
            )
            own = loaded.records.get(wanted.key)
            if own is not None and own.etag != stale:
                self._gatherer.session = self._run.session = loaded.session or self._gatherer.session
                if own.record.resolved:
                    return await self.adopt(own.record)
                wave = self._first(own.record) if own.record.kind == "children" else None
                return Turned(own.record, wave, adopted=own.record.delivery != self._token)
        raise StaleReadError(f"the record of node {wanted.key} exists and is not visible yet")

    async def adopt(self, record: NodeRecord) -> Turned:
        """Go on from a resolved record that is stored already, its dead path included."""
        self._run.keep(record)
        if record.status == "failed":
            return Turned(record, None, adopted=True)
        wave = self._follow(record)
        if wave.skipped:
            run_id, session = self._run.run_id, self._gatherer.session
            known = await self._services.facts.resolved(run_id, wave.skipped, session)
            router = self._router(record.key)
            await router.skip([key for key in wave.skipped if key not in known])
            self._gatherer.session = router.session
        return Turned(record, wave, adopted=True)

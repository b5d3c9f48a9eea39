"""From one resolved node key to what is ready because of it: arrivals at joins, and dead paths."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.runs.looping import close_round, mark_writes, write_marks
from flowcraft.distributed.services import Services
from flowcraft.engine.children import is_children_join
from flowcraft.engine.evidence import evidence, predecessors, recorded_states
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.resolution import (
    Join,
    JoinStates,
    Wave,
    fired,
    join_state,
)
from flowcraft.ports import Arrival, Commit, JoinArrival
from flowcraft.ports.errors import BackendUnavailableError, ConflictError
from flowcraft.records import NodeRecord
from flowcraft.times import iso

AGAIN_S: Final = 0.2
"""Pause before an arrival that was not answered is made once more."""
CHUNK = 80
"""Skip records of one commit; a batch may hold 100 operations."""


@dataclass(slots=True)
class Routed:
    """What a resolved node key made ready.

    Attributes:
        ready: Nodes to signal, in the order of the edges.
        woken: Those of them that have awaited their children.
        skipped: How many node keys were skipped on the way.
        ended: The run's end was reached.
    """

    ready: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    skipped: int = 0
    ended: bool = False


class Router:
    """Makes the arrivals of one node key; session is the token of its own last commit."""

    __slots__ = ("_key", "_run", "_services", "_token", "session")

    def __init__(self, services: Services, run: Run, key: str, token: str, session: str) -> None:
        self._services = services
        self._run = run
        self._key = key
        self._token = token
        self.session = session

    async def route(self, wave: Wave) -> Routed:
        """Make all arrivals that follow from a wave whose records are committed, dead paths included."""
        routed = Routed(ready=list(wave.ready), skipped=len(wave.skipped), ended=wave.ended)
        routed.woken = [key for key in wave.ready if key == self._key]  # an owner that need wait no longer
        pending: Sequence[JoinStates] = wave.joins
        while pending:
            if len(pending) == 1:
                answers = [await self._arrive(pending[0])]
            else:
                answers = await asyncio.gather(*(self._arrive(join) for join in pending))
            pending = await self._answered(pending, answers, routed)
        return routed

    async def _answered(
        self, joins: Sequence[JoinStates], answers: Sequence[Arrival], routed: Routed
    ) -> list[JoinStates]:
        following: list[JoinStates] = []
        for join, answer in zip(joins, answers, strict=True):
            if answer in (Arrival.OPEN, Arrival.FIRED):
                continue
            if is_children_join(join.join):
                routed.ready.append(join.node)
                routed.woken.append(join.node)
            elif not join.node and not join.round:
                routed.ended = True
            else:
                wave = await self._fired(join, ready=answer is Arrival.READY)
                await self._skipped(wave.skipped)
                routed.ready.extend(wave.ready)
                routed.skipped += len(wave.skipped)
                routed.ended = routed.ended or wave.ended
                following.extend(wave.joins)
        return following

    async def _fired(self, join: JoinStates, *, ready: bool) -> Wave:
        if not join.round:
            return fired(self._run.plan, join, ready=ready)
        run = self._run
        wave, self.session = await close_round(
            self._services.facts, run.run_id, run.plan, join, turned=ready, session=self.session
        )
        return wave

    async def _skipped(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        await self.skip(keys)
        tells = self._services.tells(self._run.run_id, self._run.plan.blueprint.id)
        if tells is not None:
            tells.skipped(keys)

    async def skip(self, keys: Sequence[str]) -> None:
        """Record node keys as skipped; those that are recorded already stay as they are."""
        for start in range(0, len(keys), CHUNK):
            records = self.skip_records(keys[start : start + CHUNK])
            try:
                await self._commit_skips(records)
            except ConflictError:
                await self._skip_one_by_one(records)

    def skip_records(self, keys: Sequence[str]) -> list[NodeRecord]:
        """The records of skipped node keys."""
        now = iso(self._services.clock.now())
        return [
            NodeRecord(
                key,
                NodeKey.parse(key).node,
                "skipped",
                finished_at=now,
                worker=self._services.worker_id,
                delivery=self._token,
            )
            for key in keys
        ]

    async def _commit_skips(self, records: Sequence[NodeRecord]) -> None:
        facts, run_id = self._services.facts, self._run.run_id
        marks = mark_writes(self._run.plan, records)
        if len(records) + len(marks) > CHUNK:  # the edges are dead in any case: it may be known before
            await write_marks(facts, run_id, {mark.key: mark.value for mark in marks}, self.session)
            marks = []
        self.session = await facts.commit(run_id, Commit(create=records, context=marks))

    async def _skip_one_by_one(self, records: Sequence[NodeRecord]) -> None:
        for record in records:
            try:
                await self._commit_skips([record])
            except ConflictError:
                continue  # an earlier delivery, or reconciliation, recorded it

    async def _arrive(self, join: JoinStates) -> Arrival:
        """Arrive; an "open" of a new entry or of a small join is checked against the facts.

        A worker that reads with its latest commit's token sees every earlier commit of the run, so the last
        predecessor sees all of them: no join is missed, whatever the coordination store forgot. While another
        predecessor is busy in this worker, that one is answered later, and checks.
        """
        wide = join.expected > self._services.settings.check_open_joins_up_to
        try:
            answer, created = await self._told(join, again=wide)
        except BackendUnavailableError:
            return await self._from_facts(join)
        finally:
            self._run.busy.discard(self._key)
        if answer is not Arrival.OPEN:
            return answer
        if not created if wide else not self._run.busy.isdisjoint(self._sources(join)):
            return answer
        known = await self._recorded(join)
        if _decided(join, known) is Arrival.OPEN and not (wide and known.keys() - join.states.keys()):
            return answer
        try:
            return (await self._tell(join, known))[0]
        except BackendUnavailableError:
            return _decided(join, known)

    async def _told(self, join: JoinStates, *, again: bool) -> tuple[Arrival, bool]:
        """Tell of this arrival; ``again`` where nobody checks the last answer, so it must not be lost."""
        try:
            return await self._tell(join, join.states)
        except BackendUnavailableError:
            if not again:
                raise
        await self._services.clock.sleep(AGAIN_S)
        return await self._tell(join, join.states)

    async def _tell(self, join: JoinStates, states: Mapping[str, bool]) -> tuple[Arrival, bool]:
        return await self._services.coordination.arrive(
            JoinArrival(self._run.run_id, join.join, join.edge, states, join.expected, join.any_join)
        )

    async def _from_facts(self, join: JoinStates) -> Arrival:
        return _decided(join, await self._recorded(join))

    async def _recorded(self, join: JoinStates) -> dict[str, bool]:
        facts, run_id = self._services.facts, self._run.run_id
        session = self._run.session or self.session
        records = await facts.resolved(run_id, self._sources(join), session)
        if is_children_join(join.join):
            return {**self._run.owners.arrived(join, records), **join.states}
        names = evidence(self._run.plan, join).marks if self._run.plan.loops else ()
        marks = (await facts.load(run_id, context=names, session=session)).context if names else {}
        return {**recorded_states(self._run.plan, join, records, marks), **join.states}

    def _sources(self, join: JoinStates) -> Sequence[str]:
        """The node keys that arrive at a join."""
        if is_children_join(join.join):
            return self._run.owners.sources(join)
        return predecessors(self._run.plan, join)


def _decided(join: JoinStates, states: Mapping[str, bool]) -> Arrival:
    state = join_state(states, join.expected, any_join=join.any_join)
    return {Join.OPEN: Arrival.OPEN, Join.READY: Arrival.READY, Join.DEAD: Arrival.DEAD}[state]

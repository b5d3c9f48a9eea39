"""Bugs in what is read, recorded and signalled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.planted.patches import Patches, Where, bug
from tests.simulation.planted.wanted import (
    CRASHES,
    any_joins,
    dead_end,
    decided,
    fickle,
    joins,
    long_retry,
    shared_key,
)
from tests.simulation.ports.coordination import CoordinationServer, JoinEntry

from flowcraft.distributed.jobs.execution import Execution
from flowcraft.distributed.jobs.gathering import Gatherer
from flowcraft.distributed.jobs.job import Job
from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.jobs.recording import Recorder, Turned
from flowcraft.distributed.jobs.signalling import Routed, Router
from flowcraft.distributed.jobs.turn import Turn
from flowcraft.distributed.message import Message
from flowcraft.distributed.runs import ending
from flowcraft.distributed.runs import header as headers
from flowcraft.engine import plan as plans
from flowcraft.engine.choice import choose_edges
from flowcraft.engine.plan import END
from flowcraft.engine.resolution import JoinStates, Wave
from flowcraft.node import NodeResult
from flowcraft.ports import Arrival, Commit, Stored, StoredRecord
from flowcraft.ports.errors import ConflictError, PreconditionFailedError
from flowcraft.records import NodeRecord


@bug(
    "end of terminals only",
    instead="the end waits for terminal nodes only",
    rule="the end is the join of all terminal nodes and of the predecessors of any-joins",
    marked=True,
)
def _end_of_terminals_only(patches: Patches) -> None:
    def arriving_in(graph: Any, _found: Any, _hops: Any) -> frozenset[str]:
        return frozenset(node.id for node in graph.keyed if not graph.outgoing[node.id])

    plans._compiled_by_hash.cache_clear()
    patches.put(plans, "arriving_in", arriving_in)
    patches.afterwards(plans._compiled_by_hash.cache_clear)


@bug(
    "a dead end is none",
    instead="a run all of whose terminal nodes are skipped does not end",
    rule="the end is reached when it is resolved, ready or dead alike",
    marked=True,
    where=Where("single", ("coordination away",), "no terminal node runs", dead_end),
)
def _dead_end_is_none(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def arrive(self: Router, join: JoinStates) -> Arrival:
            answer: Arrival = await original(self, join)
            return Arrival.OPEN if join.join == END and answer is Arrival.DEAD else answer

        return arrive

    patches.wrap(Router, "_arrive", around)


@bug(
    "skips after arrivals",
    instead="skipped nodes are recorded after their dead edges have arrived",
    rule="skip records are created before their dead edges arrive anywhere",
    marked=True,
)
def _skips_after_arrivals(patches: Patches) -> None:
    follow_all = Recorder._follow

    def later(self: Recorder, record: NodeRecord) -> Wave:
        return replace(follow_all(self, record), skipped=())

    def around(original: Any) -> Any:
        async def turned_with_skips(self: Recorder, *args: Any, **named: Any) -> Turned:
            turned: Turned = await original(self, *args, **named)
            if turned.wave is None or not turned.record.resolved:
                return turned
            return replace(turned, wave=follow_all(self, turned.record))

        return turned_with_skips

    def around_route(original: Any) -> Any:
        async def route(self: Router, wave: Wave) -> Routed:
            routed: Routed = await original(self, wave)
            await self.skip(wave.skipped)
            return routed

        return route

    patches.put(Recorder, "_follow", later)
    patches.wrap(Recorder, "commit", around)
    patches.wrap(Recorder, "adopt", around)
    patches.wrap(Router, "route", around_route)


@bug(
    "joins forget who fired them",
    instead="every arrival at a resolved join is told that it is ready",
    rule="only the edge that completed a join is told so again; every other later arrival is told `fired`",
    marked=True,
    where=Where("calm", told="any-joins", story=any_joins),
)
def _joins_forget(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def arrive(self: CoordinationServer, arrival: Any) -> Any:
            entry = self.joins.get((arrival.run_id, arrival.join))
            if entry is not None:
                entry.fired_by = ""
            return original(self, arrival)

        return arrive

    patches.wrap(CoordinationServer, "arrive", around)


@bug(
    "a record means fired",
    instead="a join that has a record is taken for one that fired before",
    rule="never conclude `fired` from the join's record",
    marked=True,
    where=Where("single", CRASHES, "joins", joins),
)
def _record_means_fired(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def arrive(self: Router, join: JoinStates) -> Arrival:
            if join.node:
                found = await self._services.facts.resolved(self._run.run_id, [join.node], self.session)
                if found:
                    return Arrival.FIRED
            answer: Arrival = await original(self, join)
            return answer

        return arrive

    patches.wrap(Router, "_arrive", around)


@bug(
    "arrivals are counted",
    instead="a join counts arrivals, whichever edges they are of",
    rule="arrivals are a set of edges, never a counter of deliveries",
)
def _arrivals_are_counted(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def arrive(self: CoordinationServer, arrival: Any) -> Any:
            entry = self.joins.setdefault((arrival.run_id, arrival.join), JoinEntry())
            states = {f"{edge} {len(entry.edges)}": taken for edge, taken in arrival.states.items()}
            return original(self, replace(arrival, states=states))

        return arrive

    patches.wrap(CoordinationServer, "arrive", around)


@bug(
    "open joins are not checked",
    instead="what the coordination store says of a join is believed, also after it forgot half of it",
    rule="the arrival that creates a join's key seeds it from the records; an `open` is checked",
    marked=True,
    where=Where("single", ("coordination forgets",), "joins", joins),
)
def _open_is_believed(patches: Patches) -> None:
    async def recorded(_self: Router, join: JoinStates) -> dict[str, bool]:
        return dict(join.states)

    patches.put(Router, "_recorded", recorded)


@bug(
    "joins are read without session",
    instead="the records of a join's predecessors are read without the token of the own commit",
    rule="a worker that reads with its own commit's token sees every earlier commit",
    marked=True,
    where=Where("single", ("coordination forgets",), "joins", joins, lag_s=1.0),
)
def _joins_without_session(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def recorded(self: Router, join: JoinStates) -> dict[str, bool]:
            session, run_session = self.session, self._run.session
            self.session = self._run.session = ""
            try:
                pending = original(self, join)
                states: dict[str, bool] = await pending
            finally:
                self.session = session
                self._run.session = self._run.session or run_session
            return states

        return recorded

    patches.wrap(Router, "_recorded", around)


@bug(
    "conditions again",
    instead="a record that is found has its edges' conditions evaluated again",
    rule="replays read the edges that were taken and never evaluate a condition again",
    where=Where("single", CRASHES, "a condition over a key that others write too", shared_key),
)
def _conditions_again(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def load(self: Gatherer, key: str, *, look: bool, proven: bool) -> Any:
            own, facts = await original(self, key, look=look, proven=proven)
            if own is not None and own.record.status == "completed":
                result = NodeResult(own.record.output, own.record.action)
                chosen = choose_edges(self._run.plan, key, result, facts, self._services.evaluator)
                own = StoredRecord(replace(own.record, taken=chosen[0], values=chosen[1]), own.etag)
            return own, facts

        return load

    patches.wrap(Gatherer, "load", around)


@bug(
    "context in a write of its own",
    instead="what a node writes to the context is stored after its record",
    rule="a record and its context writes are one batch",
)
def _context_afterwards(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def certain(self: Recorder, commit: Commit) -> str:
            session: str = await original(self, replace(commit, context=()))
            if commit.context:
                session = await original(self, Commit(context=commit.context, seq=commit.seq))
            return session

        return certain

    patches.wrap(Recorder, "_certain", around)


@bug(
    "own result counts",
    instead="who finds the node recorded by somebody else goes on with its own result",
    rule="a second create conflicts and the loser adopts the winner's record",
    where=Where("storm", told="nodes that give another output each time", story=fickle),
)
def _own_result_counts(patches: Patches) -> None:
    async def lost(self: Recorder, wanted: NodeRecord, _replaces: StoredRecord | None) -> Turned:
        self._run.keep(wanted)
        self._gatherer.committed(wanted)
        if not wanted.resolved or wanted.status == "failed":
            return Turned(wanted, None, adopted=False)
        return Turned(wanted, self._follow(wanted), adopted=False)

    patches.put(Recorder, "_lost", lost)


@bug(
    "records are overwritten",
    instead="a record is written even where there is one",
    rule="a record is created once",
)
def _records_are_overwritten(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def certain(self: Recorder, commit: Commit) -> str:
            try:
                session: str = await original(self, commit)
            except ConflictError:
                record = commit.create[0]
                loaded = await self._services.facts.load(self._run.run_id, nodes=[record.key])
                if record.key not in loaded.records:
                    raise
                over = replace(commit, create=(), replace=(loaded.records[record.key], record))
                session = await original(self, over)
            return session

        return certain

    patches.wrap(Recorder, "_certain", around)


@bug(
    "alarms prove nothing",
    instead="who gets an alarm and does not see its awaiting record begins the node anew (no tokens besides)",
    rule="an alarm proves its awaiting record: not seeing it is a stale read",
    marked=True,
    where=Where("lag", told="decisions", story=decided),
)
def _alarms_prove_nothing(patches: Patches) -> None:
    def around_take(original: Any) -> Any:
        async def take(self: Turn, key: str, *, look: bool, proven: bool, woken: bool) -> Turned | None:
            turned: Turned | None = await original(self, key, look=look or proven, proven=False, woken=woken)
            return turned

        return take

    patches.wrap(Turn, "take", around_take)
    patches.wrap(Job, "_new_turn", _without_token)


def _without_token(original: Any) -> Any:
    """Messages that do not say what their sender has seen: where they do, stale reads of it are none."""

    def new_turn(self: Job, run: Run, message: Message) -> Turn:
        turn: Turn = original(self, run, replace(message, session=""))
        return turn

    return new_turn


@bug(
    "alarms wake owners",
    instead="an owner whose alarm comes again while it makes its children completes without them",
    rule="an owner completes when its children are resolved, however often it is signalled",
    where=Where("single", CRASHES, "a node that makes others after a long retry", family="late owner"),
)
def _alarms_wake_owners(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def take(self: Turn, key: str, *, look: bool, proven: bool, woken: bool) -> Turned | None:
            turned: Turned | None = await original(self, key, look=look, proven=proven, woken=woken or proven)
            return turned

        return take

    patches.wrap(Turn, "take", around)


@bug(
    "retries begin anew",
    instead="after a long delay a node begins with its first attempt again",
    rule="an awaiting record of a retry says which attempt is next",
    where=Where("calm", told="a long retry", story=long_retry),
)
def _retries_begin_anew(patches: Patches) -> None:
    def around(original: Any) -> Any:
        async def execute(self: Turn, act: Any, _first_attempt: int) -> Any:
            return await original(self, act, 1)

        return execute

    patches.wrap(Turn, "execute", around)


@bug(
    "what is not seen is not there",
    instead="a node whose predecessors' records are not visible runs all the same (no tokens besides)",
    rule="a fact that the signal proves to exist but is not visible is a stale read",
    where=Where("lag"),
)
def _unseen_is_absent(patches: Patches) -> None:
    patches.put(Gatherer, "_ready", lambda _self, _key, _facts: True)
    patches.wrap(Job, "_new_turn", _without_token)


@bug(
    "context without proof",
    instead="context is read without what the records that caused the node have seen",
    rule="first see the records that caused a job, then read context with at least that token",
)
def _context_without_proof(patches: Patches) -> None:
    def around(original: Any) -> Any:
        def read_with(self: Any, _session: str, _proofs: Sequence[str]) -> None:
            original(self, "", [])

        return read_with

    patches.wrap(Execution, "read_with", around)


@bug(
    "the end is forced",
    instead="who ends a run whose header was changed meanwhile writes the end over the change",
    rule="the header is changed only with If-Match",
)
def _end_is_forced(patches: Patches) -> None:
    async def publish(ports: Any, stored: Stored, status: str, **facts: Any) -> Stored:
        document = headers.ended(stored.document, status, ports.clock.now(), **facts)
        while document is not None:
            try:
                written: Stored = await ports.facts.replace_header(stored, document)
            except PreconditionFailedError:
                newest = await ports.facts.read_header(stored.document["runId"])
                stored = Stored(stored.document, newest.etag)
            else:
                return written
        return stored

    patches.put(ending, "_publish", publish)

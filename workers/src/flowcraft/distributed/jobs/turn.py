"""One node key's turn under its claim: load its facts, act as its kind asks, commit its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowcraft.distributed.jobs.execution import Execution
from flowcraft.distributed.jobs.gathering import Gatherer, NoCodeError
from flowcraft.distributed.jobs.kinds import BEGUN_BY, WOKEN, Act
from flowcraft.distributed.jobs.kinds.children import signalled_again
from flowcraft.distributed.jobs.known_runs import Run, Runs
from flowcraft.distributed.jobs.recording import Recorder, Turned
from flowcraft.distributed.runs.pinning import Plans
from flowcraft.distributed.services import Services
from flowcraft.engine.children import seq_after
from flowcraft.engine.choice import choose_edges, too_many_rounds
from flowcraft.engine.inputs import Facts, node_input
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.making import Made, made_by
from flowcraft.errors import EvaluationError, FatalError, OutputError
from flowcraft.executor import Completed, Failed, RetryLater
from flowcraft.failures import ErrorDetail
from flowcraft.node import MISSING, NodeResult
from flowcraft.ports import ContextWrite, StoredRecord
from flowcraft.ports.errors import BackendUnavailableError, PayloadTooLargeError, StaleReadError
from flowcraft.records import AwaitKind, NodeRecord, RecordStatus
from flowcraft.times import iso, later, parse_time


class Turn:
    """The turns of one delivery."""

    def __init__(  # noqa: PLR0917  made in one place
        self, services: Services, runs: Runs, plans: Plans, run: Run, token: str, session: str
    ) -> None:
        self.services = services
        self.run = run
        self.plans = plans
        self._token = token
        self._gatherer = Gatherer(services, runs, run, session)
        self._recorder = Recorder(services, run, token, self._gatherer)
        self.execution = Execution(services, run)

    @property
    def session(self) -> str:
        """Token of what this delivery has seen and written."""
        return self._gatherer.session

    def seen(self, session: str) -> None:
        """Later reads see at least this."""
        self._gatherer.session = session

    async def take(self, key: str, *, look: bool, proven: bool, woken: bool = False) -> Turned | None:
        """Act on a node key; None if its execution was cancelled.

        Args:
            key: The node key, claimed by this delivery.
            look: It may have a record already.
            proven: It has an ``awaiting`` record (this is its alarm).
            woken: It has awaited its children.

        Raises:
            StaleReadError: facts that must exist are not visible here yet.
            NotReadyError: the facts say that it is not to run.
            NoCodeError: it is a child whose implementation is not here.
        """
        own, facts = await self._gatherer.load(key, look=look or proven, proven=proven)
        if own is not None and own.record.resolved:
            return await self._recorder.adopt(own.record)
        act = replace(self._act(key, facts, own), proven=proven, woken=woken)
        if self._gatherer.owned is not None:
            self._require_code(act.definition.uses)
        if own is None:
            return await self._begin(act)
        turned = await self._go_on(act, own.record)
        if proven and turned and turned.adopted and not turned.record.resolved:
            self._require_seen(act, own.record, turned.record)
        return turned

    def _require_seen(self, act: Act, seen: NodeRecord, stored: NodeRecord) -> None:
        """The signal may be for a wait that is newer than what was seen; then it must not be lost.

        Raises:
            StaleReadError: it may be.
        """
        if (seen.attempt, seen.waits_for, seen.kind) != (stored.attempt, stored.waits_for, stored.kind):
            raise StaleReadError(f"node {act.key} waits for something newer than was seen")

    async def give_up(self, key: str, error: ErrorDetail, *, woken: bool) -> Turned:
        """Record a node key as failed without executing it; an existing resolved record is adopted.

        So is that of an owner whose children are not done (it is not ``woken``): it may be one of them whose
        code ended the workers, while the message still named the owner.

        Raises:
            StaleReadError: no facts say that it is to run.
            NotReadyError: the facts say that it is not to run.
        """
        own = await self._gatherer.own(key)
        if own is not None and own.record.resolved:
            return await self._recorder.adopt(own.record)
        if own is not None and own.record.kind == "children" and not woken:
            return await signalled_again(self, own.record)
        if own is None:
            await self._gatherer.require_ready(key)
        return await self.fail(self._act(key, Facts({}, {}, None), own), error, 0)

    def _act(self, key: str, facts: Facts, own: StoredRecord | None) -> Act:
        owned = self._gatherer.owned
        node = self.run.plan.node(key) if owned is None else owned.node(key)
        return Act(key, node.definition, facts, own, self.services.clock.now())

    def _require_code(self, uses: str) -> None:
        """Nodes of the blueprint were looked for when the run was opened; those made since then were not."""
        if not self.services.catalog.registry.implements(uses):
            raise NoCodeError(f"{uses!r} is not registered in this worker's app")

    # ---- what the kinds of node do ----

    async def _begin(self, act: Act) -> Turned | None:
        """The next attempt, which is the first one where there is no record."""
        kind = BEGUN_BY.get(act.definition.uses)
        if kind is not None:
            return await kind.begin(self, act)
        return await self.execute(act, 1 + (act.own.record.attempt if act.own else 0))

    async def _go_on(self, act: Act, record: NodeRecord) -> Turned | None:
        wake_at = parse_time(record.wake_at)
        # What comes after its time is its alarm's: this message becomes one, and claims what alarms claim.
        if wake_at is not None and (wake_at > act.started or not act.proven):
            return self.still(record)
        kind = WOKEN.get(record.kind or "retry")
        return await (self._begin(act) if kind is None else kind.go_on(self, act, record))

    def input(self, act: Act) -> Any:
        """The node's input."""
        if self._gatherer.owned is not None:
            return self._gatherer.owned.input(self.run.plan, act.key, act.facts)
        return node_input(self.run.plan, act.key, act.facts)

    def still(self, record: NodeRecord, *, due: bool = False) -> Turned:
        """It waits on: nothing is written; ``due`` if whoever is woken has something to do."""
        return Turned(record, None, adopted=True, due=due)

    async def wait(self, act: Act, kind: AwaitKind, wake_at: str | None = None, **facts: Any) -> Turned:
        """Record that the node key waits; without ``wake_at``, for somebody who signals it."""
        record = self._record(act, "awaiting", kind=kind, wake_at=wake_at, **facts)
        return await self._recorder.commit(record, replaces=act.own)

    async def fall_back(self, act: Act, error: ErrorDetail, attempts: int) -> Turned | None:
        """Let the node's fallback run as its last attempt; without one, record the failure."""
        if act.definition.config.fallback is None:
            return await self.fail(act, error, attempts)
        return await self.execute(act, attempts + 1, stand_in=True)

    async def execute(self, act: Act, first_attempt: int, *, stand_in: bool = False) -> Turned | None:
        """Run the node's code, or its fallback, from this attempt on; None if it was cancelled."""
        value = self.input(act)
        self.execution.read_with(self.session, self._proofs(act))
        outcome = await self.execution.execute(
            act.key, act.definition, value, act.facts, first_attempt, stand_in=stand_in
        )
        if isinstance(outcome, Completed):
            result = replace(outcome.result, fallback_executed=True) if stand_in else outcome.result
            return await self.complete(act, result, outcome.writes, outcome.attempts)
        if isinstance(outcome, Failed):
            if isinstance(outcome.exception, BackendUnavailableError | StaleReadError):
                raise outcome.exception  # its context could not be read: no fault of the node's
            fatal = isinstance(outcome.exception, FatalError)
            return await self.fail(act, outcome.error, outcome.attempts, fatal=fatal)
        if isinstance(outcome, RetryLater):
            wake_at = later(self.services.clock.now(), outcome.delay_s)
            error = outcome.error.to_dict()
            return await self.wait(act, "retry", wake_at, attempt=outcome.attempts, error=error)
        return None

    def _proofs(self, act: Act) -> list[str]:
        """Predecessors whose writes the session may not have seen: others committed them, or nobody knows."""
        if self._gatherer.owned is not None:
            return []  # its session has seen its owner's record
        if len(self.run.plan.incoming(act.key)) < 2 and self.session:
            return []
        return [record.key for record in self._gatherer.sources(act.key, act.facts)]

    # ---- records ----

    def _record(self, act: Act, status: RecordStatus, **facts: Any) -> NodeRecord:
        if act.own is not None:
            facts.setdefault("waits_for", act.own.record.waits_for)
            facts.setdefault("wrote", act.own.record.wrote)  # before its children
        return NodeRecord(
            key=act.key,
            node=NodeKey.parse(act.key).node,
            status=status,
            started_at=act.own.record.started_at if act.own else iso(act.started),
            worker=self.services.worker_id,
            delivery=self._token,
            seq=self._seq(act),
            **facts,
        )

    def _seq(self, act: Act) -> int:
        """The logical time of a node key: after all that it follows from."""
        if act.own is not None and act.own.record.kind == "children":
            return seq_after(act.own.record)
        if self._gatherer.owned is not None:
            return self._gatherer.owned.seq
        sources = self._gatherer.sources(act.key, act.facts)
        return 1 + max((record.seq for record in sources), default=0)

    async def complete(
        self, act: Act, result: NodeResult, writes: Mapping[str, Any] | None = None, attempts: int = 1
    ) -> Turned | None:
        """Record the result, the context written (``MISSING`` deletes) and the edges taken."""
        writes = writes or {}
        if result.dynamic_nodes:
            return await self._make(act, result, writes, attempts)
        if self._gatherer.owned is not None:
            writes = {**writes, **self._gatherer.owned.told(self.run.plan, act.key, result.output)}
        facts = act.facts.written(writes) if writes else act.facts
        try:
            taken, values = self._choose(act, result, facts)
        except EvaluationError as error:
            return await self.fail(act, ErrorDetail.of(error), attempts)
        reason = too_many_rounds(self.run.plan, act.key, taken)
        if reason is not None:
            return await self.fail(act, ErrorDetail("LoopWithoutEnd", reason), attempts)
        record = self._record(
            act,
            "completed",
            output=result.output,
            action=result.action,
            taken=taken,
            values=values,
            attempt=attempts,
            finished_at=iso(self.services.clock.now()),
            decision=act.own.record.decision if act.own else None,
            children=act.own.record.children if act.own else None,
            fallback=result.fallback_executed,
        )
        return await self._commit(act, record, writes)

    def _choose(self, act: Act, result: NodeResult, facts: Facts) -> tuple[tuple[int, ...], dict[int, Any]]:
        if self._gatherer.owned is not None:
            return (), {}  # no edge leaves a child
        return choose_edges(self.run.plan, act.key, result, facts, self.services.evaluator)

    async def _make(self, act: Act, result: NodeResult, writes: Mapping[str, Any], attempts: int) -> Turned:
        """Nodes that the node gave back come before its edges."""
        try:
            made = made_by(act.key, result, self.services.catalog.registry.implements)
        except OutputError as error:
            return await self.fail(act, ErrorDetail.of(error), attempts)
        return await self.own(act, made, writes, attempts)

    async def own(
        self, act: Act, made: Made, writes: Mapping[str, Any] | None = None, attempts: int = 1
    ) -> Turned:
        """Record that the node key waits for children, and with it the context written."""
        record = self._record(
            act,
            "awaiting",
            kind="children",
            output=made.material,
            action=made.action,
            attempt=attempts,
            children=made.children.to_document(),
        )
        return await self._commit(act, record, writes or {})

    async def _commit(self, act: Act, record: NodeRecord, writes: Mapping[str, Any]) -> Turned:
        context = [
            ContextWrite(name, None if value is MISSING else value, deleted=value is MISSING)
            for name, value in writes.items()
        ]
        try:
            return await self._recorder.commit(record, context, act.own)
        except PayloadTooLargeError as error:
            detail = ErrorDetail("OutputTooLarge", f"the output or the context written is too large: {error}")
            return await self.fail(act, detail, record.attempt)

    async def fail(self, act: Act, error: ErrorDetail, attempts: int = 1, *, fatal: bool = False) -> Turned:
        """Record the failure; of a child, as its owner's policy has it."""
        owned = self._gatherer.owned
        kept = owned is not None and owned.children.on_error != "fail" and not fatal
        record = self._record(
            act,
            "completed" if kept else "failed",
            error=error.to_dict(),
            attempt=attempts,
            finished_at=iso(self.services.clock.now()),
        )
        return await self._recorder.commit(record, replaces=act.own)

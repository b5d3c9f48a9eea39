"""One node key's turn under its claim: load its facts, act as its kind asks, commit its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flowcraft.distributed.execution import Execution
from flowcraft.distributed.gathering import Gatherer
from flowcraft.distributed.recording import Recorder, Turned
from flowcraft.distributed.runs import Run, Runs
from flowcraft.distributed.services import Services
from flowcraft.distributed.times import iso, later, parse_time
from flowcraft.durations import duration_s
from flowcraft.engine.choice import choose_edges
from flowcraft.engine.inputs import Facts, node_input
from flowcraft.engine.keys import NodeKey
from flowcraft.errors import EvaluationError
from flowcraft.executor import Completed, Failed, RetryLater
from flowcraft.failures import ErrorDetail
from flowcraft.node import MISSING, NodeResult
from flowcraft.ports import ContextWrite, StoredRecord
from flowcraft.ports.errors import BackendUnavailableError, PayloadTooLargeError, StaleReadError
from flowcraft.records import AwaitKind, NodeRecord, RecordStatus


@dataclass(frozen=True, slots=True)
class _Act:
    """A node key being acted on: with which facts, over which record of its own, since when."""

    key: str
    facts: Facts
    own: StoredRecord | None
    started: datetime


class Turn:
    """The turns of one delivery."""

    def __init__(self, services: Services, runs: Runs, run: Run, token: str, session: str) -> None:
        self._services = services
        self._run = run
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

    async def take(self, key: str, *, look: bool, proven: bool) -> Turned | None:
        """Act on a node key; None if its execution was cancelled.

        Args:
            key: The node key, claimed by this delivery.
            look: It may have a record already.
            proven: It has an ``awaiting`` record (this is its alarm).

        Raises:
            StaleReadError: facts that must exist are not visible here yet.
            NotReadyError: the facts say that it is not to run.
        """
        own, facts = await self._gatherer.load(key, look=look or proven, proven=proven)
        act = _Act(key, facts, own, self._services.clock.now())
        if own is None:
            return await self._begin(act)
        if own.record.resolved:
            return await self._recorder.adopt(own.record)
        return await self._continue(act, own.record)

    async def fail(self, key: str, error: ErrorDetail) -> Turned:
        """Record a node key as failed without executing it; an existing resolved record is adopted."""
        loaded = await self._services.facts.load(self._run.run_id, nodes=[key], session=self.session)
        own = loaded.records.get(key)
        if own is not None and own.record.resolved:
            return await self._recorder.adopt(own.record)
        return await self._failed(_Act(key, Facts({}, {}, None), own, self._services.clock.now()), error, 0)

    # ---- the kinds of node ----

    async def _begin(self, act: _Act) -> Turned | None:
        definition = self._run.plan.node(act.key).definition
        if definition.uses == "wait":
            return await self._recorder.commit(self._awaiting(act, "wait", None))
        if definition.uses == "sleep":
            try:
                nap = timedelta(seconds=duration_s(definition.params.get("duration")))
            except ValueError as error:
                return await self._failed(act, ErrorDetail.of(error), 1)
            return await self._recorder.commit(self._awaiting(act, "sleep", iso(act.started + nap)))
        return await self._execute(act, 1)

    async def _continue(self, act: _Act, record: NodeRecord) -> Turned | None:
        if record.kind == "wait":
            if record.decision is None:
                return Turned(record, None, adopted=True)
            decision = record.decision
            return await self._completed(
                act, NodeResult(decision.get("output"), decision.get("action")), {}, 1
            )
        wake_at = parse_time(record.wake_at)
        if wake_at is not None and wake_at > act.started:
            return Turned(record, None, adopted=True)
        if record.kind == "sleep":
            return await self._completed(
                act, NodeResult(node_input(self._run.plan, act.key, act.facts)), {}, 1
            )
        return await self._execute(act, record.attempt + 1)

    async def _execute(self, act: _Act, first_attempt: int) -> Turned | None:
        value = node_input(self._run.plan, act.key, act.facts)
        self.execution.read_with(self.session, self._proofs(act))
        outcome = await self.execution.execute(act.key, value, act.facts, first_attempt)
        if isinstance(outcome, Completed):
            return await self._completed(act, outcome.result, outcome.writes, outcome.attempts)
        if isinstance(outcome, Failed):
            if isinstance(outcome.exception, BackendUnavailableError | StaleReadError):
                raise outcome.exception  # its context could not be read: no fault of the node's
            return await self._failed(act, outcome.error, outcome.attempts)
        if isinstance(outcome, RetryLater):
            wake_at = later(self._services.clock.now(), outcome.delay_s)
            record = self._awaiting(
                act, "retry", wake_at, attempt=outcome.attempts, error=outcome.error.to_dict()
            )
            return await self._recorder.commit(record, replaces=act.own)
        return None

    def _proofs(self, act: _Act) -> list[str]:
        """Predecessors whose writes the session may not have seen: others committed them, or nobody knows."""
        plan = self._run.plan
        incoming = plan.node(act.key).incoming
        if len(incoming) < 2 and self.session:
            return []
        sources = dict.fromkeys(plan.edges[position].source for position in incoming)
        return [key for key in sources if key in act.facts.records and act.facts.records[key].resolved]

    # ---- records ----

    def _record(self, act: _Act, status: RecordStatus, **facts: Any) -> NodeRecord:
        plan = self._run.plan
        sources = (plan.edges[position].source for position in plan.node(act.key).incoming)
        known = act.facts.records
        return NodeRecord(
            key=act.key,
            node=NodeKey.parse(act.key).node,
            status=status,
            started_at=act.own.record.started_at if act.own else iso(act.started),
            worker=self._services.worker_id,
            delivery=self._token,
            seq=1 + max((known[source].seq for source in sources if source in known), default=0),
            **facts,
        )

    def _awaiting(self, act: _Act, kind: AwaitKind, wake_at: str | None, **facts: Any) -> NodeRecord:
        return self._record(act, "awaiting", kind=kind, wake_at=wake_at, **facts)

    async def _completed(
        self, act: _Act, result: NodeResult, writes: Mapping[str, Any], attempts: int
    ) -> Turned | None:
        facts = replace(act.facts, context=_overlaid(act.facts.context, writes)) if writes else act.facts
        try:
            taken, values = choose_edges(self._run.plan, act.key, result, facts, self._services.evaluator)
        except EvaluationError as error:
            return await self._failed(act, ErrorDetail.of(error), attempts)
        record = self._record(
            act,
            "completed",
            output=result.output,
            action=result.action,
            taken=taken,
            values=values,
            attempt=attempts,
            finished_at=iso(self._services.clock.now()),
            decision=act.own.record.decision if act.own else None,
        )
        context = [
            ContextWrite(name, None if value is MISSING else value, deleted=value is MISSING)
            for name, value in writes.items()
        ]
        try:
            return await self._recorder.commit(record, context, act.own)
        except PayloadTooLargeError as error:
            detail = ErrorDetail("OutputTooLarge", f"the output or the context written is too large: {error}")
            return await self._failed(act, detail, attempts)

    async def _failed(self, act: _Act, error: ErrorDetail, attempts: int) -> Turned:
        record = self._record(
            act,
            "failed",
            error=error.to_dict(),
            attempt=attempts,
            finished_at=iso(self._services.clock.now()),
        )
        return await self._recorder.commit(record, replaces=act.own)


def _overlaid(context: Mapping[str, Any], writes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**context, **writes}
    return {name: value for name, value in merged.items() if value is not MISSING}

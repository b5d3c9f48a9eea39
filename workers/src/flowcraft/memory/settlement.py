"""What comes of turns in a run in memory: node keys wait, complete or fail, and others follow from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from flowcraft.engine.choice import choose_edges, too_many_rounds
from flowcraft.engine.making import Made, Owned, made_by
from flowcraft.errors import EvaluationError, OutputError
from flowcraft.failures import ErrorDetail
from flowcraft.memory.lanes import Lanes
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.program import Program, Step
from flowcraft.memory.result import Decision
from flowcraft.memory.surround import Surround
from flowcraft.node import NodeResult
from flowcraft.records import NodeRecord
from flowcraft.values import value_class

_NONE: Final[dict[int, Any]] = {}


@value_class
class Act:
    """A node key being acted on: as which step, over which record of its own, since when."""

    key: str
    step: Step
    own: NodeRecord | None
    started: str


class Settlement:
    """Settles what the turns of one run came to: in its records, and in what follows.

    Attributes:
        decisions: For nodes that wait, by node key.
        failed: A node failed.
    """

    def __init__(self, program: Program, surround: Surround, *, ledger: Ledger, lanes: Lanes) -> None:
        self.decisions: Mapping[str, Decision] = {}
        self.failed = False
        self._program = program
        self._plan = program.plan
        self._surround = surround
        self._ledger = ledger
        self._lanes = lanes

    def own(self, record: NodeRecord, made: Made, attempts: int) -> None:
        """Let a node key wait for children, and begin the first of them."""
        owner = replace(
            record,
            kind="children",
            output=made.material,
            action=made.action,
            attempt=attempts,
            children=made.children.to_document(),
        )
        self.park(owner)
        begun = self._ledger.owners.learn(owner)
        if begun is not None and not self._lanes.stopped.is_set():
            self._ledger.route(begun)

    def children_done(self, act: Act, own: NodeRecord) -> None:
        """All children are resolved: their owner completes with the result that it had before them."""
        result = Owned.of(own).result
        self._ledger.owners.forget(act.key)
        self.complete(act, result, {}, own.attempt)

    def _make(self, act: Act, result: NodeResult, writes: Mapping[str, Any], attempts: int) -> None:
        """Nodes that the node gave back come before its edges."""
        try:
            made = made_by(act.key, result, self._program.registry.implements)
        except OutputError as error:
            self.fail(act, ErrorDetail.of(error), attempts)
            return
        self._ledger.write(act.key, writes)
        self.own(self.awaiting(act), made, attempts)

    # ---- records ----

    def awaiting(self, act: Act) -> NodeRecord:
        """An ``awaiting`` record, to be completed by the caller."""
        return self._ledger.awaiting(act.key, act.step, act.started)

    def park(self, record: NodeRecord, delay_s: float | None = None) -> None:
        """Let a node key wait, for so many seconds or for somebody."""
        self._ledger.keep(record, {})
        if delay_s is not None:
            self._lanes.set_alarm(record.key, delay_s)

    def complete(self, act: Act, result: NodeResult, writes: Mapping[str, Any], attempts: int) -> None:
        """Record a node key as completed, and do what follows."""
        if result.dynamic_nodes:
            self._make(act, result, writes, attempts)
            return
        key, step, ledger = act.key, act.step, self._ledger
        if key.endswith("]") and (owned := ledger.owners.owned(key)) is not None:
            writes = {**writes, **owned.told(self._plan, key, result.output)}
        taken, values = step.plain, _NONE
        if taken is None or (result.action is not None and step.planned.outgoing):
            facts = ledger.facts_of(key, step)
            if writes and step.needs is not None:
                facts = facts.written(writes)
            try:
                taken, values = choose_edges(self._plan, key, result, facts, self._surround.evaluator)
            except EvaluationError as error:
                self.fail(act, ErrorDetail.of(error), attempts)
                return
        if step.planned.scope and (reason := too_many_rounds(self._plan, key, taken)) is not None:
            self.fail(act, ErrorDetail("LoopWithoutEnd", reason), attempts)
            return
        ledger.keep(self._completed(act, result, taken, values, attempts), writes)
        if step.planned.scope:
            ledger.marks.learn(key, taken)
        if not self._lanes.stopped.is_set():
            ledger.follow(key, taken)

    def _completed(
        self, act: Act, result: NodeResult, taken: tuple[int, ...], values: Mapping[int, Any], attempts: int
    ) -> NodeRecord:
        own = self._ledger.records.get(act.key)  # a subflow parks itself within its turn
        decision = self.decisions.get(act.key) if self.decisions else None
        return NodeRecord(
            act.key,
            act.step.planned.id,
            "completed",
            result.output,
            result.action,
            taken,
            values,
            attempts,
            started_at=act.started,
            finished_at=self._ledger.now(),
            seq=self._ledger.seq(act.key, act.step),
            decision=None if decision is None else {"action": decision.action, "output": decision.output},
            children=None if own is None else own.children,
            waits_for=None if own is None else own.waits_for,
            fallback=result.fallback_executed,
        )

    def fail(self, act: Act, error: ErrorDetail, attempts: int, *, fatal: bool = False) -> None:
        """Record a node key as failed; so fails the run, unless it is a child whose failures are kept."""
        owned = self._ledger.owners.owned(act.key)
        kept = owned is not None and owned.children.on_error != "fail" and not fatal
        record = replace(
            self.awaiting(act),
            status="completed" if kept else "failed",
            error=error.to_dict(),
            attempt=attempts,
            finished_at=self._ledger.now(),
        )
        self._ledger.keep(record, {})
        if not kept:
            self.failed = True
            self._lanes.stop()
        elif not self._lanes.stopped.is_set():
            self._ledger.follow(act.key, ())

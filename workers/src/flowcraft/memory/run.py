"""One run in memory: what it knows (``Ledger``), who acts when (``Lanes``), how, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowcraft.errors import FlowcraftError
from flowcraft.executor import Surroundings
from flowcraft.memory.lanes import Lanes, Turn
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.nesting import Nesting
from flowcraft.memory.program import Program
from flowcraft.memory.result import Decision, RunResult, RunStatus
from flowcraft.memory.straight import straight_turn
from flowcraft.memory.surround import Surround
from flowcraft.memory.turns import Turns
from flowcraft.node_failures import failure
from flowcraft.records import NodeRecord
from flowcraft.telemetry import Telemetry
from flowcraft.times import parse_time
from flowcraft_api.wire import NodeErrorDocument


class MemoryRun:
    """Carries a run on until nothing can move.

    Attributes:
        program: What is run.
        surround: What it takes from its process.
        run_id: Its id.
        telemetry: Tells its events; None while nobody listens.
        lanes: Who acts when; whether it was cancelled, or is held by a pause.
        ledger: What is known.
    """

    def __init__(
        self,
        program: Program,
        surround: Surround,
        run_id: str,
        input: Any,  # noqa: A002  the word that users read
    ) -> None:
        extensions = surround.extensions
        telemetry = Telemetry.of(extensions.events, surround.clock, run_id, program.plan.blueprint.id)
        self.program = program
        self.surround = surround
        self.run_id = run_id
        self.telemetry = telemetry
        self.lanes = Lanes(surround.clock, surround.concurrency, surround.control)
        self.ledger = Ledger(
            program, input, surround.stamps, telemetry, inputs=surround.inputs, queue=self.lanes.ready.append
        )
        surrounded = telemetry is not None or extensions.middleware or surround.inputs
        self._straight = {} if surrounded else program.straight
        self._turns: Turns | None = None
        self._nesting: Nesting | None = None

    # ---- how node keys are acted on: what most runs never need is made when it is needed ----

    @property
    def turns(self) -> Turns:
        """Acts on nodes of every kind but subflows."""
        if self._turns is None:
            self._turns = Turns(
                self.program, self.surround, self.around, self.run_id, ledger=self.ledger, lanes=self.lanes
            )
        return self._turns

    @property
    def nesting(self) -> Nesting:
        """Carries child runs on."""
        if self._nesting is None:
            self._nesting = Nesting(
                self.program,
                self.surround,
                self.run_id,
                ledger=self.ledger,
                lanes=self.lanes,
                turns=self.turns,
            )
        return self._nesting

    @property
    def around(self) -> Surroundings:
        """What the execution of its nodes takes from its process."""
        surround, extensions = self.surround, self.surround.extensions
        return Surroundings(
            surround.clock,
            surround.random,
            surround.threads,
            serializer=extensions.serializer,
            logger=extensions.logger,
            middleware=tuple(extensions.middleware),
            telemetry=self.telemetry,
        )

    async def go(self) -> None:
        """Begin."""
        self.lanes.ready.extend(self.program.plan.start_keys())
        await self.lanes.carry_on(self._act)

    async def go_on(
        self,
        records: Mapping[str, NodeRecord],
        context: Mapping[str, Any],
        decisions: Mapping[str, Decision],
        nested: Mapping[str, Mapping[str, Decision]] | None = None,
    ) -> None:
        """Go on from what an earlier part of the run has left, with decisions for nodes that wait.

        ``nested`` are those for nodes that wait in child runs, by the key of the node that these belong to.
        """
        ready = self.lanes.ready
        self.nesting.decisions = nested or {}
        self.turns.decisions = decisions
        if decisions:
            self._straight = {}
        self.ledger.take_over(records, context)
        ready.extend(key for key in self.program.plan.start_keys() if key not in self.ledger.records)
        ready.extend(key for key in decisions if key not in ready)
        unended = (record for record in records.values() if not record.resolved)
        ready.extend(record.key for record in unended if record.kind == "run")
        await self.lanes.carry_on(self._act, list(self._alarms()))

    def _act(self, key: str) -> Turn:
        straight = self._straight.get(key)
        if straight is None or key in self.ledger.records:
            return self._act_by_kind(key)
        return straight_turn(self, key, straight)

    def _act_by_kind(self, key: str) -> Turn:
        act = self.turns.begun(key)
        if act.step.nests and not self.turns.decided(key):
            return self.nesting.take(act)
        return self.turns.take(act)

    def _alarms(self) -> Iterator[tuple[str, float]]:
        """What slept when the run was paused goes on sleeping, by the clock on the wall."""
        now = self.surround.clock.now()
        for key, record in self.ledger.records.items():
            wake_at = None if record.resolved else parse_time(record.wake_at)
            if wake_at is not None and not self.turns.decided(key):
                yield key, max((wake_at - now).total_seconds(), 0.0)

    # ---- what it came to ----

    def result(self) -> RunResult:
        """The run as it stands, once nothing moves."""
        ledger, status = self.ledger, self._status()
        return RunResult(
            self.run_id,
            self.program.plan.blueprint,
            ledger.input,
            status,
            self._output() if status == "completed" else None,
            self._errors() if status == "failed" else (),
            ledger.records,
            dict(ledger.context),
            ledger.writes,
            {} if self._nesting is None else self._nesting.results,
        )

    def _status(self) -> RunStatus:
        if self.lanes.cancelled:
            return "cancelled"
        if self._turns is not None and self._turns.failed:
            return "failed"
        if self.ledger.ended:
            return "completed"
        if self.lanes.held:
            return "paused"
        if any(not record.resolved for record in self.ledger.records.values()):
            return "awaiting"
        raise FlowcraftError(f"run {self.run_id} can neither move nor end: a defect of the engine")

    def _errors(self) -> tuple[NodeErrorDocument, ...]:
        return tuple(failure(record) for record in self.ledger.records.values() if record.status == "failed")

    def _output(self) -> dict[str, Any]:
        terminal = self.program.terminal
        latest = self.ledger.marks.latest(terminal)
        return {
            node_id: latest[node_id].output
            for node_id in terminal
            if node_id in latest and latest[node_id].status == "completed"
        }

"""One run in memory: what it knows (``Ledger``), who acts when (``Lanes``), how (``Turns``, ``Nesting``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowcraft.executor import Surroundings
from flowcraft.memory.lanes import Lanes, Turn
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.nesting import Nesting
from flowcraft.memory.program import Program
from flowcraft.memory.result import Decision
from flowcraft.memory.straight import StraightTurns
from flowcraft.memory.surround import Surround
from flowcraft.memory.turns import Turns
from flowcraft.records import NodeRecord
from flowcraft.telemetry import Telemetry
from flowcraft.times import parse_time


class MemoryRun:
    """Carries a run on until nothing can move.

    Attributes:
        ledger: What is known.
        lanes: Who acts when; whether it was cancelled, or is held by a pause.
        turns: How; whether a node failed.
        nesting: Its child runs.
    """

    def __init__(
        self,
        program: Program,
        surround: Surround,
        run_id: str,
        input: Any,  # noqa: A002  the word that users read
    ) -> None:
        extensions, clock = surround.extensions, surround.clock
        telemetry = Telemetry.of(extensions.events, clock, run_id, program.plan.blueprint.id)
        around = Surroundings(
            clock,
            surround.random,
            surround.threads,
            serializer=extensions.serializer,
            logger=extensions.logger,
            middleware=tuple(extensions.middleware),
            telemetry=telemetry,
        )
        self._plan = program.plan
        self._steps = program.steps
        self._clock = clock
        self.lanes = Lanes(clock, surround.concurrency, surround.control)
        self.ledger = Ledger(
            program, input, clock, telemetry, inputs=surround.inputs, queue=self.lanes.ready.append
        )
        self.turns = Turns(program, surround, around, run_id, ledger=self.ledger, lanes=self.lanes)
        self.nesting = Nesting(
            program, surround, run_id, ledger=self.ledger, lanes=self.lanes, turns=self.turns
        )

        surrounded = telemetry is not None or around.middleware or surround.inputs
        self._straight = (
            None
            if surrounded
            else StraightTurns(
                program,
                around,
                run_id,
                surround.dependencies,
                ledger=self.ledger,
                turns=self.turns,
                stopped=self.lanes.stopped,
            )
        )

    async def go(self) -> None:
        """Begin."""
        self.lanes.ready.extend(self._plan.start_keys())
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
            self._straight = None
        self.ledger.take_over(records, context)
        ready.extend(key for key in self._plan.start_keys() if key not in self.ledger.records)
        ready.extend(key for key in decisions if key not in ready)
        unended = (record for record in records.values() if not record.resolved)
        ready.extend(record.key for record in unended if record.kind == "run")
        await self.lanes.carry_on(self._act, list(self._alarms()))

    def _act(self, key: str) -> Turn:
        step, straight = self._steps.get(key), self._straight
        if straight is None or step is None or step.straight is None or key in self.ledger.records:
            return self._by_kind(key)
        return straight.take(key, step, step.straight)

    def _by_kind(self, key: str) -> Turn:
        act = self.turns.begun(key)
        if act.step.nests and not self.turns.decided(key):
            return self.nesting.take(act)
        return self.turns.take(act)

    def _alarms(self) -> Iterator[tuple[str, float]]:
        """What slept when the run was paused goes on sleeping, by the clock on the wall."""
        now = self._clock.now()
        for key, record in self.ledger.records.items():
            wake_at = None if record.resolved else parse_time(record.wake_at)
            if wake_at is not None and not self.turns.decided(key):
                yield key, max((wake_at - now).total_seconds(), 0.0)

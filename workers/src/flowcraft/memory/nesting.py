"""Subflows of a run in memory: runs within the run, tried again and replaced as the node's settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from flowcraft.cancellation import uncancel
from flowcraft.engine.subflows import UnableError, asked_by, child_run_id
from flowcraft.executor import backoff_s
from flowcraft.failures import ErrorDetail
from flowcraft.implementation import retry_policy
from flowcraft.memory.lanes import Lanes
from flowcraft.memory.ledger import Ledger
from flowcraft.memory.program import Program
from flowcraft.memory.result import Decision, RunResult
from flowcraft.memory.settlement import Act
from flowcraft.memory.subflows import Asked, input_of, output_of, why_failed, writes_of
from flowcraft.memory.surround import Surround
from flowcraft.memory.turns import Turns
from flowcraft.node import NodeResult


class Nesting:
    """The child runs of one run.

    Attributes:
        results: What child runs came to, by node key.
        decisions: For nodes that wait in child runs, by the key of the node that these belong to.
    """

    def __init__(
        self,
        program: Program,
        surround: Surround,
        run_id: str,
        *,
        ledger: Ledger,
        lanes: Lanes,
        turns: Turns,
    ) -> None:
        self.results: dict[str, RunResult] = {}
        self.decisions: Mapping[str, Mapping[str, Decision]] = {}
        self._plan = program.plan
        self._surround = surround
        self._ledger = ledger
        self._lanes = lanes
        self._turns = turns
        self._run_id = run_id

    async def take(self, act: Act) -> None:
        """A node's child run: begun, or gone on with, and begun again where it failed and may be."""
        policy = retry_policy(act.step.planned.definition.config)
        attempt = 1 if act.own is None else act.own.attempt
        try:
            while True:
                error = await self._carry(act, attempt)
                if error is None:
                    return
                self.results.pop(act.key, None)
                if attempt >= policy.max_attempts or error.type == "SubflowCancelled":
                    break
                await self._surround.clock.sleep(backoff_s(policy, attempt, self._surround.random))
                attempt += 1
            if error.type == "SubflowCancelled":
                self._turns.fail(act, error, attempt)
            else:
                await self._turns.fall_back(act, error, attempt)
        except UnableError as unable:
            self._turns.fail(act, unable.detail, attempt)
        except asyncio.CancelledError:
            if not self._lanes.stopped.is_set():
                raise
            uncancel()

    async def _carry(self, act: Act, attempt: int) -> ErrorDetail | None:
        """Carry one child run on; why it failed, or None when what it came to is recorded."""
        key, definition, around = act.key, act.step.planned.definition, self._surround.subflows
        assert around is not None  # noqa: S101  the runner gives it to every run
        subflow, blueprint = asked_by(definition, around.above, around.find)
        facts = self._ledger.facts_of(key, act.step)
        value = input_of(subflow, self._ledger.input_of(key, act.step), self._plan, facts)
        asked = Asked(child_run_id(self._run_id, key, attempt), blueprint, value, around.above + 1)
        asked = replace(asked, timeout_s=definition.config.timeout_s, decisions=self.decisions.get(key, {}))
        before = self.results.get(key)
        if before is not None and before.run_id == asked.run_id:
            asked = replace(asked, before=before)
        else:
            record = replace(self._turns.awaiting(act), kind="run", attempt=attempt)
            self._turns.park(replace(record, waits_for={"runId": asked.run_id}))
        try:
            result = await around.carry(asked)
        except TimeoutError as error:
            return ErrorDetail("SubflowFailed", str(error))
        if self._lanes.stopped.is_set():
            return None
        self.results[key] = result
        if result.status == "completed":
            self._turns.complete(act, NodeResult(output_of(result)), writes_of(subflow, result), attempt)
        elif result.status == "paused":
            self._lanes.held = True
        elif result.status != "awaiting":
            return why_failed(result)
        return None

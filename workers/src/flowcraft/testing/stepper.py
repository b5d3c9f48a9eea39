"""A run that is carried out step by step, forwards and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from flowcraft.blueprint import Blueprint
from flowcraft.engine.children import resolve_all
from flowcraft.engine.plan import Plan
from flowcraft.errors import AppError
from flowcraft.memory.control import StepControl
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import Decision, RunResult
from flowcraft.runtime import FlowRuntime

_OVER: Final = frozenset({"completed", "failed", "cancelled"})


class Stepper:
    """Executes what is ready, all of it, then stops: a step. What was done can be undone and done again."""

    def __init__(
        self,
        runtime: FlowRuntime,
        blueprint: Blueprint,
        input: Any = None,  # noqa: A002  the runtime's word
        options: RunOptions | None = None,
    ) -> None:
        """Args: as of ``FlowRuntime.run``; nothing is executed yet."""
        self._runtime = runtime
        self._blueprint = blueprint
        self._input = input
        self._options = options or RunOptions()
        self._results: list[RunResult] = []

    @property
    def result(self) -> RunResult | None:
        """What the run has come to; None before the first step."""
        return self._results[-1] if self._results else None

    @property
    def done(self) -> bool:
        """Whether the run is over."""
        return bool(self._results) and self._results[-1].status in _OVER

    @property
    def ready(self) -> tuple[str, ...]:
        """Node keys that the next step executes."""
        records = self._results[-1].records if self._results else {}
        moving = tuple(key for key, record in records.items() if not record.resolved and record.wake_at)
        if self.done:
            return ()
        derived = resolve_all(Plan.of(self._blueprint), records)
        return tuple(dict.fromkeys((*derived.ready, *derived.woken, *moving)))

    async def next(self, decisions: Mapping[str, Decision] | None = None) -> RunResult | None:
        """Take a step; None when the run is over.

        Args:
            decisions: For nodes that wait.

        Raises:
            AppError: nothing can move without a decision.
        """
        if self.done:
            return None
        before, given = self.result, decisions or {}
        # A decision in a subflow moves the node that the subflow belongs to.
        keys = {*self.ready, *given, *(key.partition("/")[0] for key in given)}
        if before is not None and not keys:
            raise AppError(
                f"run {before.run_id} waits for {', '.join(before.awaiting)}; give next() decisions"
            )
        options = replace(self._options, control=StepControl(keys))
        if before is None:
            result = await self._runtime.run(self._blueprint, self._input, options)
        else:
            result = await self._runtime.resume(before, given, options)
        self._results.append(result)
        return result

    def prev(self) -> RunResult | None:
        """Undo a step; what the run had come to before it, None at its beginning. Code is not undone."""
        if self._results:
            self._results.pop()
        return self.result

    def reset(self) -> None:
        """Undo all steps."""
        self._results.clear()

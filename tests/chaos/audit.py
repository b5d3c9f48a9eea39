"""The audit: every run against the same blueprint run in memory, in peace; and what is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from tests.chaos.drive import Run
from tests.chaos.programs import KINDS, VARIANTS, app

from flowcraft import FlowRuntime
from flowcraft.distributed.client import Client
from flowcraft.distributed.runs import header as headers
from flowcraft.memory.result import Decision, RunResult
from flowcraft.ports import HeaderQuery
from flowcraft.records import NodeRecord

Expected = Mapping[tuple[str, int], RunResult]
MARK = "mark."


@dataclass
class Findings:
    """What the audit found; a line for each violation, by sort."""

    audited: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    records: int = 0
    executions: int = 0
    executed_again: int = 0
    messages_left: int = 0
    poison: int = 0
    claims_left: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong_records: list[str] = field(default_factory=list)
    wrong_context: list[str] = field(default_factory=list)
    wrong_ends: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    """Errors that people got which are none of a port's."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not any(lines for _, lines in self._sorts()) and not (
            self.messages_left or self.poison or self.claims_left
        )

    def figures(self) -> Iterator[str]:
        """The audit's figures, a line each, then every violation."""
        ends = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        yield f"runs audited         {self.audited} ({ends})"
        yield f"records compared     {self.records}"
        for name, lines in self._sorts():
            yield f"{name:20} {len(lines)}"
        yield f"messages left        {self.messages_left} (and {self.poison} in the poison queue)"
        yield f"claims left          {self.claims_left}"
        yield f"executions           {self.executions}, {self.executed_again} of them again after a fault"
        for name, lines in self._sorts():
            for line in lines[:20]:
                yield f"! {name}: {line}"

    def _sorts(self) -> list[tuple[str, list[str]]]:
        return [
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("wrong records", self.wrong_records),
            ("wrong context", self.wrong_context),
            ("wrong ends", self.wrong_ends),
            ("unknown errors", self.surprises),
        ]


async def oracle() -> Expected:
    """The outcome of every kind and variant, run in memory."""
    runtime = FlowRuntime(blueprints=list(app.blueprints.values()), registry=app.registry)

    async def outcome(name: str, variant: int) -> tuple[tuple[str, int], RunResult]:
        run = Run(name, variant)
        result = await runtime.run(run.kind.blueprint["id"], {"variant": variant})
        while result.status == "awaiting":
            given = {key: Decision(**run.decision(key)) for key in result.awaiting}
            result = await runtime.resume(result, given)
        return (name, variant), result

    each = [outcome(name, variant) for name in KINDS for variant in range(VARIANTS)]
    return dict(await asyncio.gather(*each))


class Audit:
    """Compares what a backend stores with what the oracle says."""

    def __init__(
        self,
        client: Client,
        expected: Expected,
        context_of: Callable[[str, Sequence[str]], Awaitable[Mapping[str, Any]]],
    ) -> None:
        """Args: a client with a clear view; the oracle's answers; what reads a run's context keys."""
        self._client = client
        self._expected = expected
        self._context_of = context_of
        self.findings = Findings()

    async def open_runs(self, queue: str, within_s: float) -> None:
        """Wait until no run of the queue is active any more, those within runs included."""
        active: list[str] = []
        for _ in range(int(within_s / 0.5)):
            query = HeaderQuery(queue=queue, statuses=headers.ACTIVE)
            active = [stored.document["runId"] async for page in self._client.list(query) for stored in page]
            if not active:
                return
            await asyncio.sleep(0.5)
        self.findings.lost += [f"run {run_id} is still active" for run_id in active]

    async def runs(self, runs: Sequence[Run]) -> None:
        """Audit every run."""
        for run in runs:
            await self._run(run)

    def executions(self, log: Path) -> None:
        """Count executions, and compare the idempotency keys that they were given."""
        counts: Counter[tuple[str, str, int]] = Counter()
        keys: dict[tuple[str, str], str] = {}
        for line in log.read_bytes().splitlines() if log.exists() else ():
            run_id, node_key, attempt, _, idempotency_key = orjson.loads(line)
            counts[run_id, node_key, attempt] += 1
            if keys.setdefault((run_id, node_key), idempotency_key) != idempotency_key:
                self.findings.doubled.append(f"{run_id} {node_key}: two idempotency keys")
        self.findings.executions = counts.total()
        self.findings.executed_again = counts.total() - len(counts)

    async def _run(self, run: Run) -> None:
        findings, expected = self.findings, self._expected[run.kind_name, run.variant]
        name = f"{run.kind_name}/{run.variant} {run.run_id}"
        findings.audited += 1
        stored = await self._client.facts.read_header(run.run_id)
        if stored is None or run.end is None:
            records = await self._client.records(run.run_id)
            states = {key: record.status for key, record in records.items()}
            shown = {k: v for k, v in stored.document.items() if k != "blueprint"} if stored else None
            findings.lost.append(f"{name}: {shown}, {states}")
            return
        header = stored.document
        findings.statuses[header["status"]] += 1
        if header != run.end:
            findings.wrong_ends.append(f"{name}: the end changed from {run.end} to {header}")
        wanted = "cancelled" if run.kind.cancelled and not run.refused else expected.status
        if header["status"] != wanted:
            findings.wrong_ends.append(
                f"{name}: {header['status']} instead of {wanted}: {header.get('errors')}"
            )
            return
        if wanted == "completed" and header.get("output") != expected.output:
            findings.wrong_ends.append(f"{name}: {header.get('output')} instead of {expected.output}")
        await self._facts(name, run, wanted, expected)

    async def _facts(self, name: str, run: Run, status: str, expected: RunResult) -> None:
        keys = list(await self._client.records(run.run_id))
        loaded = await self._client.facts.load(run.run_id, nodes=keys)
        records = {key: found.record for key, found in loaded.records.items()}
        self.findings.records += len(records)
        for line in _record_faults(records, expected, exact=status == "completed"):
            self.findings.wrong_records.append(f"{name}: {line}")
        extra = set(records) - set(expected.records)
        if status == "completed" and extra:
            self.findings.doubled.append(f"{name}: {sorted(extra)} should not have run")
        if status == "failed":
            for line in _behind_failures(records, expected):
                self.findings.doubled.append(f"{name}: {line}")
        context = await self._context_of(run.run_id, [*expected.context, *(f"{MARK}{key}" for key in keys)])
        for line in _context_faults(context, records, expected, exact=status == "completed"):
            self.findings.wrong_context.append(f"{name}: {line}")
        trace = context.get("trace", [])
        if len(set(trace)) != len(trace):
            self.findings.doubled.append(f"{name}: the trace is {trace}")


def _record_faults(records: Mapping[str, NodeRecord], expected: RunResult, *, exact: bool) -> Iterator[str]:
    if exact and (missing := set(expected.records) - set(records)):
        yield f"no record of {sorted(missing)}"
    for key, record in records.items():
        other = expected.records.get(key)
        if other is None or (record.status == "awaiting" and not exact):
            continue
        for name in ("status", "output", "action", "taken", "values"):
            if getattr(record, name) != getattr(other, name):
                yield f"{key}: {name} is {getattr(record, name)!r} instead of {getattr(other, name)!r}"


def _behind_failures(records: Mapping[str, NodeRecord], expected: RunResult) -> Iterator[str]:
    """Nodes behind a failed one must not have been reached; the failed one must be recorded."""
    failed = {key for key, record in expected.records.items() if record.status == "failed"}
    if not failed <= {key for key, record in records.items() if record.status == "failed"}:
        yield f"{sorted(failed)} should have failed"
    behind, edges = set(failed), expected.blueprint.edges
    for _ in edges:
        behind |= {edge.target for edge in edges if edge.source in behind}
    if reached := (behind - failed) & set(records):
        yield f"{sorted(reached)} ran behind a failed node"


def _context_faults(
    context: Mapping[str, Any], records: Mapping[str, NodeRecord], expected: RunResult, *, exact: bool
) -> Iterator[str]:
    wanted = expected.context
    for key, value in context.items():
        if key == "variant":
            continue
        if key not in wanted:
            if exact:
                yield f"{key} should not be there"
        elif value != wanted[key] and key != "trace":
            yield f"{key} is {value!r} instead of {wanted[key]!r}"
    if exact and context.get("trace") != wanted.get("trace"):
        yield f"the trace is {context.get('trace')} instead of {wanted.get('trace')}"
    marked = {key[len(MARK) :] for key in context if key.startswith(MARK)}
    done = {
        key for key, record in records.items() if record.status == "completed" and f"{MARK}{key}" in wanted
    }
    for key in (done - marked) if not exact else set(wanted) - set(context):
        yield f"{key} is missing"
    for key in marked - {key for key, record in records.items() if record.status == "completed"}:
        yield f"{key} wrote, and has no completed record"

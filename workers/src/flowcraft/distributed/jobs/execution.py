"""Executing one node's code for a run: its implementation, its context, and how it is told to stop."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from flowcraft.definitions import NodeDefinition
from flowcraft.distributed.jobs.known_runs import Run
from flowcraft.distributed.persistence import persist
from flowcraft.distributed.reports import NodeReports
from flowcraft.distributed.runs.continuation import first_run_id
from flowcraft.distributed.runs.looping import look_up
from flowcraft.distributed.services import Services
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.inputs import Facts
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.reading import is_node, key_of, meant
from flowcraft.executor import Outcome, Surroundings, Work, execute_node
from flowcraft.node import NodeContext, RunContext
from flowcraft.ports import Loaded
from flowcraft.ports.errors import StaleReadError
from flowcraft.records import NodeRecord


class Execution:
    """Executes nodes of one run for one delivery."""

    __slots__ = (
        "_around",
        "_cancelled",
        "_key",
        "_proofs",
        "_reports",
        "_run",
        "_services",
        "_session",
        "_task",
    )

    def __init__(self, services: Services, run: Run) -> None:
        self._services = services
        self._run = run
        self._session = ""
        self._proofs: Sequence[str] = ()
        self._cancelled: asyncio.Event | None = None
        self._task: asyncio.Task[object] | None = None
        self._key = ""
        self._reports: NodeReports | None = None
        extensions = services.catalog.extensions
        self._around = Surroundings(
            clock=services.clock,
            random=services.random,
            threads=services.threads,
            moment_s=services.settings.inline_retry_s,
            serializer=extensions.serializer,
            logger=extensions.logger,
            middleware=tuple(extensions.middleware),
            telemetry=services.tells(run.run_id, run.plan.blueprint.id),
        )

    def read_with(self, session: str, proofs: Sequence[str]) -> None:
        """Context reads of the next node see at least this session, and all that these node keys wrote."""
        self._session = session
        self._proofs = proofs

    @property
    def runs(self) -> bool:
        """Whether a node's code runs now."""
        return self._task is not None

    def cancel(self) -> None:
        """Tell the node that runs now that its result is not wanted any more."""
        if self._cancelled is not None and self._task is not None and not self._cancelled.is_set():
            self._cancelled.set()
            self._task.cancel()

    async def execute(
        self,
        key: str,
        definition: NodeDefinition,
        value: Any,
        facts: Facts,
        first_attempt: int,
        *,
        stand_in: bool = False,
    ) -> Outcome:
        """Run the node's code with this input, from this attempt on; or its fallback, once (``stand_in``)."""
        self._cancelled = asyncio.Event()
        self._task = asyncio.current_task()
        self._key = key
        fallback = self._fallback(definition, key, value, facts)
        if stand_in and fallback is not None:
            work = replace(fallback, policy=replace(fallback.policy, max_attempts=1))
            fallback = None
        else:
            implementation = self._services.catalog.registry[definition.uses]
            work = Work(
                implementation,
                self._context(key, definition.id, value, definition.params, facts),
                implementation.policy(definition.config),
            )
        try:
            return await execute_node(work, self._around, fallback=fallback, first_attempt=first_attempt)
        finally:
            self._cancelled = self._task = None
            if self._reports is not None:
                reports, self._reports = self._reports, None
                await reports.end()

    def _report(self, done: float, total: float) -> None:
        """Take what the node says of its progress; in whatever thread it runs."""
        task = self._task
        if task is not None:
            task.get_loop().call_soon_threadsafe(self._note, self._key, done, total)

    def _note(self, key: str, done: float, total: float) -> None:
        if self._task is None or self._key != key:
            return  # said by a thread that was left to itself
        if self._reports is None:
            self._reports = NodeReports(self._services, self._run.run_id, key)
        self._reports.note(done, total)

    def _fallback(self, definition: NodeDefinition, key: str, value: Any, facts: Facts) -> Work | None:
        nodes, registry = self._run.plan.blueprint, self._services.catalog.registry
        name = definition.config.fallback
        if name is None:
            return None
        stands_in = nodes.node(name) if name in nodes.node_ids else None
        params = stands_in.params if stands_in else definition.params
        code = registry[stands_in.uses if stands_in else name]
        config = stands_in.config if stands_in else definition.config
        return Work(code, self._context(key, name, value, params, facts), code.policy(config))

    def _context(self, key: str, node_id: str, value: Any, params: Mapping[str, Any], facts: Facts) -> Any:
        cancelled = self._cancelled
        reader = self._reader(key, facts)

        def make(attempt: int) -> NodeContext:
            return NodeContext(
                input=value,
                params=params,
                context=RunContext(reader),
                run_id=self._run.run_id,
                node_id=node_id,
                node_key=key,
                idempotency_key=f"{first_run_id(self._run.stored.document)}:{key}",
                attempt=attempt,
                dependencies=self._services.catalog.dependencies,
                cancelled=cancelled,
                report=self._report,
            )

        return make

    def _reader(self, key: str, facts: Facts) -> Any:
        plan = self._run.plan

        async def read(name: str) -> Any:
            if name in facts.context:
                return facts.context[name]
            asked = key_of(name)
            names = [] if is_node(plan, name) else [asked]
            if asked not in plan.nodes:
                return meant(plan, name, self._known(await self._load(names)), None)
            record = None if plan.loops else facts.records.get(asked)
            if record is not None and not names:
                return meant(plan, name, facts, record)
            loaded = await self._load(names, [] if record is not None or plan.loops else [asked])
            if plan.loops:
                record = await self._seen(key, asked)
            elif asked in loaded.records:
                record = loaded.records[asked].record
            return meant(plan, name, self._known(loaded), record)

        return read

    def _known(self, loaded: Loaded) -> Facts:
        return Facts({}, loaded.context, self._run.input, deleted=loaded.deleted)

    async def _seen(self, key: str, node_id: str) -> NodeRecord | None:
        """The record that a node's name means to a node key, in a run with loops."""
        run = self._run
        remembered: list[dict[str, Any]] = [{}, run.records]
        reader, records = NodeKey.parse(key), ChainMap(*remembered)
        facts = self._services.facts
        look = partial(look_up, facts, run.run_id, run.plan, [node_id], reader=reader, records=records)
        found, self._session = await persist(
            self._services, "read of an output", lambda: look(session=self._session)
        )
        return found.get(node_id)

    async def _load(self, names: Sequence[str], nodes: Sequence[str] = ()) -> Loaded:
        """Read context keys, and records that a name means.

        The first time together with the records that the session does not prove.
        """
        facts, run_id = self._services.facts, self._run.run_id
        for delay_s in (*STALE_DELAYS_S, None):
            proofs, session = self._proofs, self._session
            wanted = list(dict.fromkeys([*proofs, *nodes]))
            load = partial(facts.load, run_id, nodes=wanted, context=names, session=session)
            loaded = await persist(self._services, "read of a context key", load)
            if all(key in loaded.records and loaded.records[key].record.resolved for key in proofs):
                self._session, self._proofs = loaded.session or session, ()
                return loaded
            if delay_s is not None:
                await self._services.clock.sleep(delay_s)
        raise StaleReadError(f"what the context of run {run_id} follows from is not visible yet")

"""Subflows: a node that starts a run of another blueprint, and goes on when that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.jobs.kinds.contract import Act, Acting, WaitingKind
from flowcraft.distributed.jobs.recording import Turned
from flowcraft.distributed.message import Message
from flowcraft.distributed.queue_ports import hint
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.continuation import Continuation, first_run_id
from flowcraft.distributed.runs.ending import run_output
from flowcraft.distributed.runs.families import as_child, depth, end_orphan, is_child, steer, with_mark
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.looping import look_up
from flowcraft.distributed.runs.pinning import INLINE_BYTES, pin
from flowcraft.distributed.runs.takeover import continued
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.inputs import given_value
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.engine.subflows import (
    Subflow,
    UnableError,
    asked_by,
    child_of,
    child_run_id,
    mapped_output,
    mapped_outputs,
    node_named,
    why_ended,
)
from flowcraft.errors import BlueprintError
from flowcraft.executor import backoff_s
from flowcraft.failures import ErrorDetail
from flowcraft.implementation import retry_policy
from flowcraft.node import NodeResult
from flowcraft.ports import Loaded, Stored
from flowcraft.ports.errors import ConflictError, PayloadTooLargeError, StaleReadError
from flowcraft.records import NodeRecord
from flowcraft.times import later
from flowcraft_api.wire import HeaderDocument


class _Subflow:
    """Its record names the child run, so everything else may be done again by whoever finds it half done."""

    async def begin(self, turn: Acting, act: Act) -> Turned | None:
        attempt = 1 + (act.own.record.attempt if act.own else 0)
        child_id = child_run_id(turn.run.run_id, act.key, attempt)
        try:
            self._asked(turn, act)
        except UnableError as error:
            return await turn.fail(act, error.detail)
        turned = await turn.wait(act, "run", attempt=attempt, waits_for={"runId": child_id})
        if turned.record.resolved or child_of(turned.record) != child_id:
            return turned
        try:
            child = await self._created(turn, act, child_id)
        except UnableError as error:
            return await turn.give_up(act.key, error.detail, woken=False)
        await self._start(turn, child)
        return turned

    async def go_on(self, turn: Acting, act: Act, record: NodeRecord) -> Turned | None:
        child = await self._seen(turn, child_of(record), over=act.proven)
        try:
            if child is None:
                child = await self._created(turn, act, child_of(record))
            _require_own(child, turn.run.run_id, act.key)
            if headers.is_terminal(child.document):
                if not act.proven:
                    return turn.still(record, due=True)
                return await self._ended(turn, act, record, child)
        except UnableError as error:
            return await turn.fail(act, error.detail)
        await self._start(turn, child)
        return turn.still(record)

    async def _seen(self, turn: Acting, child_id: str, *, over: bool) -> Stored | None:
        """The child's header; one that is ``over``, as the signal says, may not show it at once."""
        for delay_s in (*(STALE_DELAYS_S if over else ()), None):
            child = await turn.services.facts.read_header(child_id)
            if delay_s is None or (child is not None and headers.is_terminal(child.document)):
                break
            await turn.services.clock.sleep(delay_s)
        return child

    # ---- the start ----

    def _asked(self, turn: Acting, act: Act) -> tuple[Subflow, Blueprint]:
        """What is to be started.

        Raises:
            UnableError: it cannot be.
        """
        catalog = turn.services.catalog
        above = depth(turn.run.stored.document)
        subflow, blueprint = asked_by(act.definition, above, catalog.blueprints.find)
        try:
            turn.plans.require_valid(blueprint, catalog.registry)
        except BlueprintError as error:
            raise UnableError("InvalidBlueprint", str(error)) from None
        return subflow, blueprint

    async def _created(self, turn: Acting, act: Act, child_id: str) -> Stored:
        """The child's header, which this creates unless it is there.

        Raises:
            UnableError: it cannot be created, or is none of ours.
            StaleReadError: it exists and is not visible yet.
        """
        services, run = turn.services, turn.run
        subflow, blueprint = self._asked(turn, act)
        run.stored = await with_mark(services, run.stored)
        now = services.clock.now()
        pinned = await self._going_on(turn, act, child_id, blueprint.id)
        if pinned is None:
            request = RunRequest(child_id, blueprint.id, blueprint.version, queue=services.queue_name)
            document = headers.new(request, now)
            pinned = await pin(services.facts, document, blueprint, now, services.queue_name)
        timeout_s = act.definition.config.timeout_s
        deadline_at = None if timeout_s is None else later(now, timeout_s)
        pinned = as_child(pinned, run.stored.document, act.key, deadline_at)
        pinned["input"], large = _given(subflow, turn, act)
        if large is not None:
            del pinned["input"]
        try:
            return await services.facts.create_header(pinned, large)
        except PayloadTooLargeError as error:
            raise UnableError("InputTooLarge", f"the input of the child run is too large: {error}") from None
        except ConflictError:
            found = await services.facts.read_header(child_id)
        if found is None:
            raise StaleReadError(f"run {child_id} exists and is not visible yet")
        _require_own(found, run.run_id, act.key)
        return found

    async def _going_on(
        self, turn: Acting, act: Act, child_id: str, blueprint_id: str
    ) -> HeaderDocument | None:
        """Of a run that goes on from another one: the header of a child that goes on from that one's child.

        A retry takes over what the child achieved; a run again from a node keeps its idempotency keys.
        """
        services, header = turn.services, turn.run.stored.document
        before = header.get("continues")
        if before is None or first_run_id(header) == header["runId"]:
            return None
        loaded = await services.facts.load(before["runId"], nodes=[act.key])
        found = loaded.records.get(act.key)
        stored = await services.facts.read_header(child_of(found.record)) if found else None
        if stored is None or not headers.is_terminal(stored.document):
            return None
        source = stored.document
        if not is_child(source, before["runId"]) or source.get("blueprintId") != blueprint_id:
            return None
        records: dict[str, NodeRecord] = {}
        if not before.get("nodes"):
            async for page in services.facts.records(source["runId"]):
                records.update((each.record.key, each.record) for each in page)
        how = Continuation(child_id, nodes=tuple(before.get("nodes", ())))
        return await continued(services.facts, source, records, how, services.clock.now())

    async def _start(self, turn: Acting, child: Stored) -> None:
        """Signal a child that nobody has touched, unless its parent has ended or is paused meanwhile."""
        if not headers.is_untouched(child.document):
            return
        services, run_id = turn.services, child.document["runId"]
        # Whoever ends or pauses the parent from here on finds the child by the record.
        parent = await services.facts.read_header(turn.run.run_id)
        if parent is None or headers.is_terminal(parent.document):
            await end_orphan(services, child)
        elif parent.document.get("status") == "paused":
            await steer(services, child, headers.suspended)
        else:
            blueprint_id = child.document.get("blueprintId", "")
            await services.queue.send(Message(run_id, blueprint_id, check=True).to_body())
            await hint(services, f"+{run_id}")

    # ---- the end ----

    async def _ended(self, turn: Acting, act: Act, record: NodeRecord, child: Stored) -> Turned | None:
        header = child.document
        if header.get("status") != "completed":
            return await self._failed(turn, act, record, header)
        plan = await turn.plans.of(turn.services.facts, header)
        output = mapped_output(await run_output(turn.services, header, plan), plan.terminal_nodes)
        subflow = Subflow.of(act.definition)
        writes = await self._written(turn, subflow, child, plan) if subflow.outputs else {}
        return await turn.complete(act, NodeResult(output), writes, record.attempt)

    async def _failed(
        self, turn: Acting, act: Act, record: NodeRecord, header: HeaderDocument
    ) -> Turned | None:
        """Try again with another child run, as often as the node's config says, then its fallback."""
        error, policy = _why(header), retry_policy(act.definition.config)
        if header.get("status") == "cancelled":
            return await turn.fail(act, error, record.attempt)
        if record.attempt >= policy.max_attempts:
            return await turn.fall_back(act, error, record.attempt)
        delay_s = backoff_s(policy, record.attempt, turn.services.random)
        wake_at = later(turn.services.clock.now(), delay_s)
        return await turn.wait(act, "retry", wake_at, attempt=record.attempt, error=error.to_dict())

    async def _written(self, turn: Acting, subflow: Subflow, child: Stored, plan: Plan) -> dict[str, Any]:
        """What ``outputs`` names in the child."""
        names = sorted(set(subflow.outputs.values()))
        named = [name for name in map(node_named, names) if name in plan.nodes]
        looped = [name for name in named if plan.nodes[name].scope]
        loaded = await self._proven(turn, child, plan, [*named, *plan.terminal_nodes], names)
        records = {key: one.record for key, one in loaded.records.items()}
        if looped:  # the last time that they ran
            facts, run_id = turn.services.facts, child.document["runId"]
            latest, _ = await look_up(facts, run_id, plan, looped, reader=NodeKey(""), session=loaded.session)
            records.update(latest)
        given = child.document.get("input", loaded.input)
        first = given if isinstance(given, Mapping) else {}
        left = {name: value for name, value in first.items() if name not in loaded.deleted}
        return mapped_outputs(subflow, records, {**left, **loaded.context})

    async def _proven(
        self, turn: Acting, child: Stored, plan: Plan, nodes: Sequence[str], names: Sequence[str]
    ) -> Loaded:
        """Records and context of an ended child, read so that nothing of it is missing.

        In a completed run every node has a record, and who sees those of its last nodes sees all before them.

        Raises:
            StaleReadError: they are not visible yet.
        """
        run_id = child.document["runId"]
        expected = list(dict.fromkeys(name for name in nodes if not plan.nodes[name].scope))
        for delay_s in (*STALE_DELAYS_S, None):
            loaded = await turn.services.facts.load(run_id, nodes=expected, context=names, with_input=True)
            if all(key in loaded.records and loaded.records[key].record.resolved for key in expected):
                return loaded
            if delay_s is not None:
                await turn.services.clock.sleep(delay_s)
        raise StaleReadError(f"what run {run_id} wrote is not visible yet")


def _given(subflow: Subflow, turn: Acting, act: Act) -> tuple[Any, Any]:
    """The child's input, and again where it is to be stored beside the header."""
    value = turn.input(act)
    if subflow.inputs is not None:
        value = {key: given_value(source, turn.run.plan, act.facts) for key, source in subflow.inputs.items()}
    return value, value if len(orjson.dumps(value)) > INLINE_BYTES else None


def _require_own(child: Stored, run_id: str, key: str) -> None:
    parent = child.document.get("parent", {})
    if not is_child(child.document, run_id) or parent.get("nodeKey") != key:
        raise UnableError(
            "RunIdTaken", f"run {child.document['runId']} exists, and is not the subflow of this node"
        )


def _why(header: HeaderDocument) -> ErrorDetail:
    told = header.get("message") or header.get("reason") or ""
    return why_ended(
        header["runId"], header.get("blueprintId", ""), header["status"], told, header.get("errors") or ()
    )


SUBFLOW: Final[WaitingKind] = _Subflow()

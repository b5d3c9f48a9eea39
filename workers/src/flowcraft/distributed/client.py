"""The client: starts runs and carries out every verb on them, over any backend."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.callbacks import is_token_of
from flowcraft.distributed.message import Message
from flowcraft.distributed.queue_ports import hint
from flowcraft.distributed.repair import repair
from flowcraft.distributed.run_ids import run_id_problem
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.amendments import Amendment
from flowcraft.distributed.runs.continuation import (
    Continuation,
    next_id,
    require_as_asked,
    require_continuable,
    require_ran,
)
from flowcraft.distributed.runs.decisions import place_inside, record_decision, require_same
from flowcraft.distributed.runs.families import conclude, steer_children
from flowcraft.distributed.runs.header import RunRequest
from flowcraft.distributed.runs.pinning import INLINE_BYTES, pin
from flowcraft.distributed.runs.retention import purge
from flowcraft.distributed.runs.takeover import continued, first_nodes, require_known
from flowcraft.distributed.runs.verbs import Outcome, RefusedError, RunState, Verb, permits_decision, ruling
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.json_values import NotJsonError, encode_json, is_unicode, with_integers
from flowcraft.large_values import LARGEST_BYTES
from flowcraft.node import check_key
from flowcraft.ports import (
    Clock,
    Coordination,
    FactStore,
    HeaderQuery,
    JobQueue,
    Stored,
)
from flowcraft.ports.errors import (
    BackendUnavailableError,
    ConflictError,
    PayloadTooLargeError,
    PreconditionFailedError,
)
from flowcraft.ports.tracing import Tracing
from flowcraft.records import NodeRecord
from flowcraft.times import parse_time
from flowcraft_api.wire import HeaderDocument

if TYPE_CHECKING:
    from flowcraft.serializer import Serializer

MAX_INPUT_BYTES: Final = LARGEST_BYTES
"""Largest input of a run: it fits an item of its own (2 MB in Cosmos DB) with room for its envelope."""
MAX_REPLACE_TRIES: Final = 20
DELETE_GRACE_S: Final = 60.0
"""A run is deleted so long after its end at the earliest: what still runs would write to what is gone."""


class RunNotFoundError(Exception):
    """No run with that id is known here."""


@dataclass(frozen=True, slots=True)
class Client:
    """Starts runs of one queue, and reads and steers them.

    Every method raises ``BackendUnavailableError`` or ``BackendRefusedError`` from the ports, verbs on a run
    ``RunNotFoundError`` and ``RefusedError``. All verbs are idempotent. With ``tracing``, what is started or
    decided belongs to the caller's trace. Inputs and decisions may be any values that nodes may
    give; the app's ``serializer`` makes JSON of them.
    """

    queue_name: str
    queue: JobQueue
    facts: FactStore
    coordination: Coordination
    clock: Clock
    tracing: Tracing | None = None
    serializer: Serializer | None = None

    async def start_workflow(
        self,
        blueprint_id: str,
        input: Any = None,  # noqa: A002 - the name that users write
        *,
        run_id: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> str:
        """Start a run and give its id; further options are those of ``RunRequest``."""
        request = RunRequest(
            run_id=run_id or str(uuid.uuid4()),
            blueprint_id=blueprint_id,
            version=version,
            input=self._encoded(input),
            encoded=True,
            **options,
        )
        await self.start(request)
        return request.run_id

    async def start(self, request: RunRequest, blueprint: Blueprint | None = None) -> Stored:
        """Accept a run: write its header, then signal it. Doing it again changes nothing.

        A ``blueprint`` given here is pinned at once; otherwise the first worker that knows it pins it. A
        start repeated with another input or blueprint keeps what the first one pinned: compare the answer.

        Raises:
            PayloadTooLargeError: the input is over 64 MiB of JSON, or is not JSON; or it is over 2 MB, and
                this backend has no store of large values.
            BlueprintError: the blueprint given has mistakes.
            RefusedError: the run id is none that every backend keeps.
        """
        document, input_item = self._accepted(request)
        if blueprint is not None:
            from flowcraft.linter import require_valid  # noqa: PLC0415  it loads the expression library

            require_valid(blueprint)
            accepted = parse_time(document["createdAt"]) or self.clock.now()
            document = await pin(self.facts, document, blueprint, accepted, self.queue_name)
        return await self._create(document, input_item)

    def _encoded(self, value: Any) -> Any:
        """A value as JSON, by the app's serializer."""
        if self.serializer is None:
            from flowcraft.serializer import JSON  # noqa: PLC0415  most commands of the shell need none

            return _json_of(JSON, value)
        return _json_of(self.serializer, value)

    def _trace(self) -> str:
        return "" if self.tracing is None else self.tracing.carrier()

    async def cancel(self, run_id: str) -> HeaderDocument:
        """End an active run as cancelled; running nodes are told."""
        records = await self.records(run_id)
        resolved = sum(record.resolved for record in records.values())
        document = await self._change(run_id, partial(headers.cancelled, resolved=resolved))
        await conclude(self, document)
        return document

    async def suspend(self, run_id: str) -> HeaderDocument:
        """Pause a run and its subflows: what runs finishes, nothing new begins."""
        document = await self._change(run_id, headers.suspended)
        await steer_children(self, document, headers.suspended)
        return document

    async def resume(self, run_id: str) -> HeaderDocument:
        """Let a paused run go on, and signal at once what is ready."""
        document = await self._change(run_id, headers.resumed)
        for child_id in await steer_children(self, document, headers.resumed):
            await repair(self, child_id, alarm_grace_s=0.0)
        await repair(self, run_id, alarm_grace_s=0.0)  # alarms that rang meanwhile were given back for long
        return document

    async def decide(
        self, run_id: str, node_key: str, *, action: str | None = None, output: Any = None
    ) -> None:
        """Answer a waiting node: commit the decision, then signal it. The same answer again signals again.

        One that waits in a subflow is ``<key of the subflow's node>/<node key in it>``, or is answered under
        the id of the child run.

        Raises:
            RefusedError: the node does not wait yet (retryable), or another decision was made.
        """
        if action is not None and not is_unicode(action):
            raise PayloadTooLargeError("the action has half of a surrogate pair, which is not Unicode")
        stored = await self._read(run_id)
        decision = {"action": action, "output": self._encoded(output)}
        loaded = await self.facts.load(run_id, nodes=[node_key])
        session = loaded.session
        found = loaded.records.get(node_key)
        if found is None and (inside := await place_inside(self.facts, run_id, node_key)):
            try:
                await self.decide(inside[0], inside[1], action=action, output=output)
            except RunNotFoundError:
                told = f"nothing waits at {node_key} yet; decide again once it does"
                raise RefusedError(told, retryable=True) from None
            return
        if permits_decision(stored.document, node_key, found.record if found else None):
            assert found is not None  # noqa: S101  what waits has a record
            session = await record_decision(self, run_id, found, decision)
        elif found is not None:
            require_same(found.record, decision)
        if not headers.is_terminal(stored.document):
            blueprint_id = stored.document.get("blueprintId", "")
            await self.queue.send(
                Message(run_id, blueprint_id, node_key, session, alarm=True, trace=self._trace()).to_body()
            )
            await hint(self, f"+{run_id}")

    async def call_back(
        self, run_id: str, node_key: str, token: str, *, action: str | None = None, output: Any = None
    ) -> None:
        """Answer a webhook for a caller who was given its address: a decision, if the token is the right one.

        Raises:
            RefusedError: the token is another one, or what ``decide`` refuses.
        """
        loaded = await self.facts.load(run_id, nodes=[node_key])
        found = loaded.records.get(node_key)
        if found is None or not is_token_of(found.record, token):
            raise RefusedError(f"no webhook waits at {node_key} of run {run_id} under this token")
        await self.decide(run_id, node_key, action=action, output=output)

    async def retry(
        self,
        run_id: str,
        *,
        input: Any = None,  # noqa: A002 - as in start_workflow
        patch: Mapping[str, Any] | None = None,
        delete: Sequence[str] = (),
    ) -> Stored:
        """Let a failed or cancelled run go on as a new one, from all that it achieved.

        Doing it again gives the same new run; to retry once more, retry that one.

        Args:
            run_id: The run that has ended.
            input: The new run's input, in place of the old one's; what is taken over stays as it was made
                of that.
            patch: Context keys that are to have these values.
            delete: Context keys that are to be gone.

        Raises:
            PayloadTooLargeError: the input or a value is too large, or is not JSON.
        """
        source = await self.header(run_id)
        require_continuable(Verb.RETRY, source, self.queue_name, self.clock.now())
        how = Continuation(_acceptable(next_id(source)))
        return await self._continue(source, how, self._amendment(input, patch, delete))

    async def rerun(
        self,
        run_id: str,
        nodes: Sequence[str] = (),
        *,
        new_run_id: str | None = None,
        new_keys: bool = False,
        input: Any = None,  # noqa: A002 - as in start_workflow
        patch: Mapping[str, Any] | None = None,
        delete: Sequence[str] = (),
    ) -> Stored:
        """Run an ended run again from these nodes on, as a new run; what is before them is taken over.

        Args:
            run_id: The run that has ended.
            nodes: Node ids (or single node keys) that have run in it; the first ones by default.
            new_run_id: Idempotency key of this call; by default every call is another run.
            new_keys: Let services do their work again: nodes that run again get idempotency keys of the new
                run instead of those of the run that ran them first.
            input: The new run's input, as for ``retry``.
            patch: Context keys that are to have these values.
            delete: Context keys that are to be gone.

        Raises:
            PayloadTooLargeError: the input or a value is too large, or is not JSON.
        """
        source = await self.header(run_id)
        require_continuable(Verb.RERUN, source, self.queue_name, self.clock.now())
        new_id = _acceptable(new_run_id or str(uuid.uuid4()))
        how = Continuation(new_id, (), tuple(nodes), new_keys=new_keys, whole=not nodes)
        return await self._continue(source, how, self._amendment(input, patch, delete))

    async def delete(self, run_id: str) -> bool:
        """Delete an ended run with all that belongs to it; False: it ended just now, and goes in a minute."""
        try:
            header = (await self._read(run_id)).document
            if "parent" in header:
                raise RefusedError(
                    f"the run is a subflow of run {header['parent']['runId']}: it goes with that one"
                )
            document = await self._change(
                run_id, lambda now_is, now: headers.expiring(now_is, now, DELETE_GRACE_S)
            )
        except RunNotFoundError:
            return ruling(Verb.DELETE, RunState.UNKNOWN).outcome is Outcome.NOTHING
        if not headers.expired(document, self.clock.now()):
            return False
        await purge(self, run_id)
        return True

    async def header(self, run_id: str) -> HeaderDocument:
        """The run's header as it is now."""
        return (await self._read(run_id)).document

    async def records(self, run_id: str) -> Mapping[str, NodeRecord]:
        """All node records of a run, without outputs, by key."""
        found: dict[str, NodeRecord] = {}
        async for page in self.facts.records(run_id):
            found.update((stored.record.key, stored.record) for stored in page)
        return found

    async def outputs(self, run_id: str, keys: Sequence[str]) -> Mapping[str, Any]:
        """Outputs of completed node keys."""
        loaded = await self.facts.load(run_id, nodes=keys)
        return {key: stored.record.output for key, stored in loaded.records.items()}

    def list(self, query: HeaderQuery) -> AsyncIterator[Sequence[Stored]]:
        """Header projections that match, in pages."""
        return self.facts.headers(query)

    def _accepted(self, request: RunRequest) -> tuple[HeaderDocument, Any]:
        _acceptable(request.run_id)
        document = headers.new(replace(request, queue=request.queue or self.queue_name), self.clock.now())
        return document, _place_input(document, request.input, plain=not request.encoded)

    def _amendment(
        self, run_input: Any, patch: Mapping[str, Any] | None, deleted: Sequence[str]
    ) -> Amendment:
        values = {name: self._encoded(value) for name, value in (patch or {}).items()}
        for name in (*values, *deleted):
            try:
                check_key(name)
            except ValueError as error:
                raise RefusedError(str(error)) from None
            if name in values and name in deleted:
                raise RefusedError(f"the context key {name!r} is to be set and to be deleted: choose one")
        if len(encode_json(values)) > INLINE_BYTES:
            raise PayloadTooLargeError(
                f"the context keys have more than {INLINE_BYTES} bytes of JSON: pass large data as input"
            )
        return Amendment(None if run_input is None else self._encoded(run_input), values, tuple(deleted))

    async def _create(self, document: HeaderDocument, input_item: Any) -> Stored:
        """Create a header and signal the run; what exists already is signalled if nobody has touched it."""
        again = False
        try:
            stored = await self.facts.create_header(document, input_item)
        except ConflictError:
            again = True
            stored = await self._existing(document["runId"])
            if not headers.is_untouched(stored.document):
                return stored
            # else the first start may have died before its signal
        if stored.document.get("status") != "paused":
            blueprint_id = stored.document.get("blueprintId", "")
            await self.queue.send(
                Message(document["runId"], blueprint_id, check=again, trace=self._trace()).to_body()
            )
        await hint(self, f"+{document['runId']}")
        return stored

    async def _continue(self, source: HeaderDocument, how: Continuation, amendment: Amendment) -> Stored:
        """Fix what the new run adopts in its header, and start it; a worker copies it then."""
        run_id = source["runId"]
        records = await self.records(run_id)
        if how.whole:
            how = replace(how, nodes=await first_nodes(self.facts, source, records))
        await require_known(self.facts, source, records, how.nodes)
        require_ran(records, how.nodes)
        how = replace(how, patch=amendment.patch, asked=amendment.digest)
        document = await continued(self.facts, source, records, how, self.clock.now())
        large = None
        if amendment.input is not None:
            document.pop("plainInput", None)
            large = _place_input(document, amendment.input)
        elif "input" not in source:
            large = (await self.facts.load(run_id, with_input=True)).input
        stored = await self._create(document, large)
        require_as_asked(stored.document, how)
        return stored

    async def _existing(self, run_id: str) -> Stored:
        for delay_s in (0.0, *STALE_DELAYS_S):
            await self.clock.sleep(delay_s)
            stored = await self.facts.read_header(run_id)
            if stored is not None:
                return stored
        raise BackendUnavailableError(f"run {run_id} exists and is not visible yet; try again")

    async def _read(self, run_id: str) -> Stored:
        stored = await self.facts.read_header(run_id)
        if stored is None:
            raise RunNotFoundError(f"no run {run_id} is known in this backend")
        return stored

    async def _change(
        self, run_id: str, change: Callable[[HeaderDocument, datetime], HeaderDocument | None]
    ) -> HeaderDocument:
        for _ in range(MAX_REPLACE_TRIES):
            stored = await self._read(run_id)
            document = change(stored.document, self.clock.now())
            if document is None:
                return stored.document
            try:
                replaced = await self.facts.replace_header(stored, document)
            except PreconditionFailedError:
                continue
            await hint(self, run_id)
            return replaced.document
        raise BackendUnavailableError(
            f"the header of run {run_id} changed {MAX_REPLACE_TRIES} times meanwhile"
        )


def _acceptable(run_id: str) -> str:
    if problem := run_id_problem(run_id):
        raise RefusedError(f"the run id {run_id[:80]!r} {problem}")
    return run_id


def _place_input(document: HeaderDocument, value: Any, *, plain: bool = False) -> Any:
    """Put an input into a header, or give it back to be stored as an item of its own, being large.

    ``plain`` is one that no serializer made: what might mean something to one is marked as meaning nothing.
    """
    document.pop("input", None)
    try:
        encoded = encode_json(value)
    except NotJsonError as error:
        raise PayloadTooLargeError(f"the input is not JSON: {error}") from None
    if b".0" in encoded:
        value = with_integers(value)
    if plain and b"$" in encoded:
        document["plainInput"] = True
    size = len(encoded)
    if size > MAX_INPUT_BYTES:
        raise PayloadTooLargeError(
            f"the input has {size} bytes of JSON, over {MAX_INPUT_BYTES}: keep large data in storage "
            "and pass a reference"
        )
    if size <= INLINE_BYTES:
        document["input"] = value
        return None
    return value


def _json_of(serializer: Serializer, value: Any) -> Any:
    try:
        return serializer.encode(value)
    except NotJsonError as error:
        raise PayloadTooLargeError(f"the value is not JSON: {error}") from None

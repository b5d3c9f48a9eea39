"""WorkflowRuns: an event goes into a record and a work queue; a run is planned and carried out by steps."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from flowcraft.errors import BlueprintError
from flowcraft.ports import Clock
from flowcraft.ports.errors import PortError
from flowcraft_api.manifest import ManifestError, parse_workflow_run
from flowcraft_api.pool_status import RunCounts
from flowcraft_api.resources import WorkflowRun
from flowcraft_api.run_status import INVALID_SPEC, RunObstacle, run_status
from flowcraft_api.wire import TERMINAL_STATUSES, HeaderDocument
from flowcraft_api.workflow_run import RunPhase, WorkflowRunStatus
from flowcraft_operator.handlers.run_record import (
    RUN_FINALIZER,
    Key,
    RunRecord,
    deleting_since,
    is_settled,
    new_record,
    previous_status,
)
from flowcraft_operator.handlers.run_starting import drift
from flowcraft_operator.handlers.run_verbs import RunVerbs
from flowcraft_operator.handlers.seams import Pools
from flowcraft_operator.handlers.work_queue import WorkQueue
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.kube.errors import ConflictError, NotFoundError, RejectedError
from flowcraft_operator.kube.events import Event, EventRecorder, Subject
from flowcraft_operator.kube.resources import WORKFLOW_RUNS
from flowcraft_operator.planning.run import RunFacts, RunPlan, plan_run
from flowcraft_operator.planning.run_steps import AddFinalizer, ReadHeader, RemoveFinalizer, Step
from flowcraft_operator.planning.run_writing import display_interval
from flowcraft_operator.settings import OperatorSettings

MAX_STEPS: Final = 120
"""Steps of one handling: as many as a run has decisions, and some."""

NESTED_TOO_DEEPLY: Final = (
    "spec is nested deeper than 250 levels: delete the run, and apply it with a reference to such data"
)

_log = logging.getLogger(__name__)


class Runs:
    """All WorkflowRuns that are not settled."""

    def __init__(
        self,
        kube: KubeClient,
        events: EventRecorder,
        pools: Pools,
        clock: Clock,
        settings: OperatorSettings,
        *,
        failed: Any,
    ) -> None:
        self._kube = kube
        self._events = events
        self._pools = pools
        self._clock = clock
        self._deletion_grace = timedelta(seconds=settings.deletion_grace_s)
        self._records: dict[Key, RunRecord] = {}
        self._by_pool: dict[Key, dict[str, RunRecord]] = {}
        self._verbs = RunVerbs(kube, pools, clock)
        self.queue: WorkQueue[Key] = WorkQueue(
            "runs", self._handle, workers=settings.run_workers, failed=failed
        )

    def observe(self, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Take an event of the watch: cheap, and nothing at all for a run that is settled."""
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        if event_type == "DELETED":
            record = self._records.get(key)
            if record is not None and record.uid == metadata["uid"]:
                self._drop(record)
            return
        if self._absorbed(key, body):
            self.queue.add(key)

    def active(self, pool: Key) -> Mapping[str, RunRecord]:
        """The runs of a pool that have not ended, by run id."""
        return self._by_pool.get(pool, {})

    def look_again(self, pool: Key) -> None:
        """Have all runs of a pool planned anew, because something about the pool changed."""
        for record in self.active(pool).values():
            if record.failure is not None and not record.failure.final:
                record.failure = record.retry_at = None
            self.queue.add(record.key)

    def counts(self, pool: Key) -> RunCounts:
        """How many runs of a pool are in which state."""
        phases = [record.phase for record in self.active(pool).values()]
        return RunCounts(
            running=phases.count(RunPhase.RUNNING.value), awaiting=phases.count(RunPhase.AWAITING.value)
        )

    def phases(self) -> Iterator[tuple[Key, str]]:
        """Pool and phase of every run that is kept."""
        return ((record.pool, record.phase or RunPhase.PENDING.value) for record in self._records.values())

    def plan(self, record: RunRecord) -> None:
        """Have a run planned anew."""
        self.queue.add(record.key)

    def headers_seen(self) -> int:
        """How many of the runs that are kept have a known header."""
        return sum(record.header is not None for record in self._records.values())

    def see_header(self, record: RunRecord, document: HeaderDocument | None, etag: str) -> None:
        """Take a header that was read for a run, if it is news."""
        if document is not None and record.header_known and etag and etag == record.etag:
            return
        known = (record.header or {}).get("status")
        if known in TERMINAL_STATUSES and (document is None or document.get("status") != known):
            return  # an older view: an end is final
        record.see_header(document, etag, self._clock.now())
        self.queue.add(record.key)

    def _absorbed(self, key: Key, body: Mapping[str, Any]) -> bool:
        """Keep a newer object; False if there is nothing to be done for it."""
        record = self._records.get(key)
        if record is not None and record.uid != body["metadata"]["uid"]:
            self._drop(record)
            record = None
        if record is not None and not record.absorb(body):
            return False
        if is_settled(body):
            if record is not None:
                self._drop(record)
            return False
        if record is None:
            record = self._records[key] = new_record(body, self._clock.now())
            self._by_pool.setdefault(record.pool, {})[record.uid] = record
        return True

    def _drop(self, record: RunRecord) -> None:
        if self._records.get(record.key) is record:  # not another one of its name
            del self._records[record.key]
            self.queue.forget(record.key)
        of_pool = self._by_pool.get(record.pool, {})
        of_pool.pop(record.uid, None)
        if not of_pool:
            self._by_pool.pop(record.pool, None)

    async def _handle(self, key: Key) -> float | None:
        record = self._records.get(key)
        if record is None:
            return None
        body = orjson.loads(record.body)
        try:
            run = _parsed(record, body)
        except ManifestError as error:
            return await self._refuse(record, body, str(error))
        for _ in range(MAX_STEPS):
            await self._compare(record, run, body)
            await self._look_at_decisions(record, run)
            plan = plan_run(run.spec, record.header, self._facts(record, run, body), self._clock.now())
            for notice in plan.notices if plan.step is not None else ():
                await self._tell(record, Event(notice.reason, notice.message, notice.type))
            if plan.step is None:
                return await self._conclude(record, body, plan)
            if not await self._carry_out(plan.step, record, run, body):
                return None
            if self._records.get(key) is not record:
                return None
            body = orjson.loads(record.body)
        return 1.0

    def _facts(self, record: RunRecord, run: WorkflowRun, body: Mapping[str, Any]) -> RunFacts:
        if record.retry_at is not None and record.retry_at <= self._clock.now():
            record.failure, record.retry_at = None, None
        return RunFacts(
            run_id=record.uid,
            generation=run.metadata.generation,
            has_finalizer=RUN_FINALIZER in (run.metadata.finalizers or ()),
            deleting_since=deleting_since(body),
            previous=previous_status(body),
            pool_problem=self._pools.problem(record.pool, deleting=record.deleting),
            workers_problem=self._pools.workers_problem(record.pool),
            settling=self._pools.is_settling(record.pool),
            header_known=record.header_known,
            missing_since=record.missing_since,
            failure=record.failure,
            decided=record.decided,
            drift=record.drift if record.compared == run.metadata.generation else None,
            misdirected=record.misdirected,
            written_at=record.written_at,
            deletion_grace=self._deletion_grace,
            display_every=display_interval(len(self._records)),
        )

    async def _compare(self, record: RunRecord, run: WorkflowRun, body: Mapping[str, Any]) -> None:
        """Compare spec and pinned input, once for each generation of a run that is there already."""
        generation = run.metadata.generation
        previous = previous_status(body)
        seen_before = previous is not None and previous.observed_generation == generation
        if record.header is None or record.compared == generation or seen_before or record.deleting:
            return
        document = await self._verbs.full_header(record)
        if document is not None:
            record.drift = drift(run, document)
            record.compared = generation

    async def _look_at_decisions(self, record: RunRecord, run: WorkflowRun) -> None:
        """Look for decisions that no node waits for, once for each generation of a run that is pinned."""
        pinned = (record.header or {}).get("blueprintHash")
        looked_at = (run.metadata.generation, pinned or "")
        if not pinned or record.deleting or record.decisions_of == looked_at:
            return
        try:
            record.misdirected = await self._verbs.misdirected(record, run) if run.spec.decisions else {}
        except (PortError, BlueprintError):
            return  # the next look finds it
        record.decisions_of = looked_at

    async def _carry_out(
        self, step: Step, record: RunRecord, run: WorkflowRun, body: Mapping[str, Any]
    ) -> bool:
        """One step; False if whatever comes of it arrives later."""
        match step:
            case AddFinalizer():
                return await self._set_finalizer(record, body, present=True)
            case RemoveFinalizer():
                return await self._set_finalizer(record, body, present=False)
            case ReadHeader() if not record.deleting:
                self._pools.look_up(record)
                return False
            case _:
                outcome = await self._verbs.carry_out(step, record, run)
                for event in outcome:
                    await self._tell(record, event)
                return True

    async def _set_finalizer(self, record: RunRecord, body: Mapping[str, Any], *, present: bool) -> bool:
        metadata = body["metadata"]
        others = [each for each in metadata.get("finalizers") or () if each != RUN_FINALIZER]
        wanted = [*others, RUN_FINALIZER] if present else others
        namespace, name = record.key
        version = metadata["resourceVersion"]
        try:
            answer = await self._kube.set_finalizers(
                WORKFLOW_RUNS, namespace, name, wanted, resource_version=version
            )
        except ConflictError:
            return await self._reload(record)
        except NotFoundError:
            self._drop(record)
            return False
        return self._take(record, answer)

    async def _reload(self, record: RunRecord) -> bool:
        try:
            body = await self._kube.get(WORKFLOW_RUNS, *record.key)
        except NotFoundError:
            self._drop(record)
            return False
        if body["metadata"]["uid"] != record.uid:
            self.observe("MODIFIED", body)
            return False
        record.absorb(body)
        return True

    def _take(self, record: RunRecord, body: Mapping[str, Any]) -> bool:
        """Keep the object that a write answered with; False if nothing is left to do."""
        if body["metadata"].get("deletionTimestamp") and not body["metadata"].get("finalizers"):
            self._drop(record)
            return False
        return self._absorbed(record.key, body)

    async def _conclude(self, record: RunRecord, body: Mapping[str, Any], plan: RunPlan) -> float | None:
        """Write what the plan says, and let go of a run that ended."""
        if plan.status is not None and not await self._write(record, plan.status):
            return None
        for notice in plan.notices:
            await self._tell(record, Event(notice.reason, notice.message, notice.type))
        if plan.release:
            for _ in range(5):
                body = orjson.loads(record.body)
                if RUN_FINALIZER not in (body["metadata"].get("finalizers") or ()):
                    break
                if not await self._set_finalizer(record, body, present=False):
                    return None
        return plan.look_again_s

    async def _write(self, record: RunRecord, status: WorkflowRunStatus) -> bool:
        namespace, name = record.key
        try:
            answer = await self._kube.patch_status(
                WORKFLOW_RUNS, namespace, name, uid=record.uid, status=status.to_document()
            )
        except NotFoundError:
            self._drop(record)
            return False
        except RejectedError as error:
            if not await self._reload(record):
                return False
            _log.error("status of WorkflowRun %s/%s is refused: %s", namespace, name, error)
            return False
        record.written_at = self._clock.now()
        return self._take(record, answer) or status.phase.is_final

    async def _refuse(self, record: RunRecord, body: Mapping[str, Any], problem: str) -> float | None:
        """A spec that this operator cannot read: an older or newer definition let it in."""
        if record.deleting:
            await self._set_finalizer(record, body, present=False)
            return None
        obstacle = RunObstacle(INVALID_SPEC, problem)
        previous = previous_status(body)
        generation = body["metadata"].get("generation")
        now: datetime = self._clock.now()
        status = run_status(
            None, None, previous, now=now, run_id=record.uid, generation=generation, obstacles=[obstacle]
        )
        if status != previous:
            await self._write(record, status)
        return None

    async def _tell(self, record: RunRecord, event: Event) -> None:
        subject = Subject(WORKFLOW_RUNS, *record.key, record.uid)
        await self._events.record(subject, event)


def _parsed(record: RunRecord, body: Mapping[str, Any]) -> WorkflowRun:
    if record.too_deep:
        raise ManifestError(NESTED_TOO_DEEPLY)
    return parse_workflow_run(body)

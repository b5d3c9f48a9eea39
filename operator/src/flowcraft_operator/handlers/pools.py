"""FlowcraftWorkerPools: a look observes backend, queue, Deployment and pods, then plans, applies, patches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flowcraft.distributed.client import Client
from flowcraft.ports import Clock
from flowcraft.ports.errors import PortError
from flowcraft_api.run_status import BACKEND_UNREACHABLE, POOL_NOT_FOUND, POOL_NOT_READY, RunObstacle
from flowcraft_api.wire import HeaderDocument
from flowcraft_api.worker_pool import WorkerPoolSpec
from flowcraft_operator.handlers.connection import PoolConnection
from flowcraft_operator.handlers.mirror import Mirror, MirrorPorts
from flowcraft_operator.handlers.pool_children import NameTakenError, PoolChildren
from flowcraft_operator.handlers.pool_reconciliation import PoolReconciliation
from flowcraft_operator.handlers.pool_state import PoolState
from flowcraft_operator.handlers.run_record import Key, RunRecord
from flowcraft_operator.handlers.seams import RunsOfPools
from flowcraft_operator.handlers.work_queue import WorkQueue
from flowcraft_operator.kube.client import KubeClient
from flowcraft_operator.kube.errors import ForbiddenError, NotFoundError, RejectedError
from flowcraft_operator.kube.events import Event, EventRecorder, Subject
from flowcraft_operator.kube.resources import WORKER_POOLS
from flowcraft_operator.manifests.backend_sources import backend_sources
from flowcraft_operator.manifests.identity import PoolIdentity
from flowcraft_operator.manifests.overlay import OverlayError
from flowcraft_operator.planning.pods import WorkerProblem
from flowcraft_operator.planning.pool import PoolObserved, PoolPlan, plan_pool
from flowcraft_operator.planning.queue_owner import queue_owner
from flowcraft_operator.settings import OperatorSettings
from flowcraft_operator.wiring import Backends

SETTLING_S: Final = 3.0
"""Runs may be seen before the pools are, when the operator starts."""
RECONCILED_AT_ONCE: Final = 8
LINGER_S: Final = 90.0
"""How long a deleted pool's connection is kept for runs that are being deleted: longer than their grace."""
WORKERS: Final = 32
"""Pools that are looked at at once: an unreachable backend keeps only its own pool waiting."""


class PoolKeeper:
    """All FlowcraftWorkerPools."""

    runs: RunsOfPools
    """Set right after construction: pools and runs know each other."""

    def __init__(
        self,
        kube: KubeClient,
        events: EventRecorder,
        clock: Clock,
        settings: OperatorSettings,
        backends: Backends,
        *,
        failed: Any,
    ) -> None:
        self._kube = kube
        self._events = events
        self._clock = clock
        self._settings = settings
        self._backends = backends
        self._children = PoolChildren(kube, clock)
        self._reconciliation = PoolReconciliation(clock, settings.quiet_reconciliation_s)
        self._states: dict[Key, PoolState] = {}
        self._started_at = clock.monotonic()
        self.queue: WorkQueue[Key] = WorkQueue("pools", self._handle, workers=WORKERS, failed=failed)
        self.reconciliations: WorkQueue[Key] = WorkQueue(
            "reconciliations", self._reconcile, workers=RECONCILED_AT_ONCE, failed=failed
        )

    def observe(self, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Take an event of the watch."""
        metadata = body["metadata"]
        key = Key(metadata["namespace"], metadata["name"])
        state = self._states.get(key)
        if event_type == "DELETED":
            if state is not None and state.identity.uid == metadata["uid"]:
                state.gone_at = self._clock.monotonic()
                self.runs.look_again(key)
                self.queue.add(key)
            return
        if state is None or state.identity.uid != metadata["uid"]:
            if state is not None:
                self._release(state)
            state = self._states[key] = self._new_state(key, metadata["uid"])
        before = state.generation
        state.absorb(body)
        if state.generation != before:
            state.measured_at = state.deployment_at = None
            self.queue.add(key)

    def poll(self, key: Key) -> None:
        """The timer of a pool: look at it if its poll interval has passed."""
        state = self._states.get(key)
        if state is None:
            return
        interval_s = state.spec.scaling.poll_interval.seconds if state.spec else 10.0
        if state.measured_at is None or self._clock.monotonic() - state.measured_at >= interval_s - 0.05:
            self.queue.add(key)

    def reconcile(self, key: Key) -> None:
        """The reconciliation timer of a pool: repair its stalled runs if its interval has passed."""
        self.reconciliations.add(key)

    async def _reconcile(self, key: Key) -> None:
        state = self._states.get(key)
        if state is None or state.gone_at is not None or not self._is_usable(state):
            return
        try:
            looked = await self._reconciliation.run(state, idle=not self.runs.active(key))
        except PortError as error:
            self.report(key, error)
        else:
            if looked:
                state.connection.report(None)
                self.queue.add(key)

    def states(self) -> Iterator[PoolState]:
        """Every pool that exists."""
        return (state for state in self._states.values() if state.gone_at is None)

    def problem(self, pool: Key, *, deleting: bool) -> RunObstacle | None:
        """Why the pool cannot take or steer runs now; None if it can."""
        state = self._states.get(pool)
        if state is None or (state.gone_at is not None and not deleting):
            return RunObstacle(
                POOL_NOT_FOUND,
                f"FlowcraftWorkerPool {pool.name} does not exist in namespace {pool.namespace}; "
                "the run goes on when it does.",
            )
        obstacle = self._obstacle(state)
        if obstacle is not None:
            return RunObstacle(POOL_NOT_READY, f"Pool {pool.name}: {obstacle.message}")
        health = state.connection.health
        if health.reachable is None:
            return RunObstacle(POOL_NOT_READY, f"Pool {pool.name} is being connected to its backend.")
        if not health.reachable:
            return RunObstacle(BACKEND_UNREACHABLE, f"Pool {pool.name}: {health.message}")
        return None

    def workers_problem(self, pool: Key) -> RunObstacle | None:
        """Why no worker of the pool runs, as far as is known."""
        state = self._states.get(pool)
        problem = state.workers_problem if state else None
        if state is None or problem is None or (state.deployment is not None and state.deployment.ready):
            return None
        return RunObstacle(problem.reason, f"Pool {pool.name}: {problem.message}")

    def is_settling(self, pool: Key) -> bool:
        """Whether it is too early to say that something is wrong with the pool."""
        state = self._states.get(pool)
        if state is None:
            return self._clock.monotonic() - self._started_at < SETTLING_S
        return state.spec is not None and state.connection.health.reachable is None

    def client(self, pool: Key) -> Client | None:
        """The client of the pool's backend."""
        state = self._states.get(pool)
        return state.connection.client if state else None

    def report(self, pool: Key, error: PortError | None) -> None:
        """Take note of how a request to the backend went."""
        state = self._states.get(pool)
        if state is not None:
            state.connection.report(error)
            if error is not None:
                self.queue.add(pool)

    def ttl_after_finished_s(self, pool: Key) -> float | None:
        """How long facts of ended runs are kept."""
        state = self._states.get(pool)
        return state.spec.retention.ttl_after_finished.seconds if state and state.spec else None

    def look_up(self, record: RunRecord) -> None:
        """Have the header of a run read soon, together with others."""
        state = self._states.get(record.pool)
        if state is not None:
            state.mirror.look_up(record.uid)

    async def close(self) -> None:
        """End all mirrors and connections."""
        for state in list(self._states.values()):
            if state.mirroring is not None:
                state.mirroring.cancel()
            await state.connection.close()
        self._states.clear()

    def _new_state(self, key: Key, uid: str) -> PoolState:
        connection = PoolConnection(self._kube, self._backends, self._clock, key.namespace)
        ports = MirrorPorts(
            client=lambda: connection.client if connection.health.reachable else None,
            active=lambda: self.runs.active(key),
            seen=self._seen,
            progressed=self.runs.plan,
            report=lambda error: self.report(key, error),
            arrived=lambda: self._arrived(key),
        )
        mirror = Mirror(ports, self._clock, self._settings.status_poll_s, self._settings.status_sweep_s)
        state = PoolState(key, PoolIdentity(key.namespace, key.name, uid), connection, mirror)
        state.mirroring = asyncio.get_running_loop().create_task(mirror.run(), name=f"mirror {key}")
        return state

    def _seen(self, record: RunRecord, document: HeaderDocument | None, etag: str) -> None:
        self.runs.see_header(record, document, etag)

    def _arrived(self, key: Key) -> None:
        """Work was sent: a pool without workers should not wait for its next poll."""
        state = self._states.get(key)
        if state is not None and (state.deployment is None or state.deployment.wanted == 0):
            state.measured_at = None
            self.queue.add(key)

    def _release(self, state: PoolState) -> None:
        if state.mirroring is not None:
            state.mirroring.cancel()
        closing = asyncio.get_running_loop().create_task(state.connection.close())
        closing.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _handle(self, key: Key) -> float | None:
        state = self._states.get(key)
        if state is None:
            return None
        if state.gone_at is not None:
            return self._linger(state)
        if state.spec is not None:
            await self._observe(state, state.spec)
        self._pass_on(state)
        return await self._plan_and_apply(state)

    async def _observe(self, state: PoolState, spec: WorkerPoolSpec) -> None:
        now = self._clock.monotonic()
        poll_interval_s = spec.scaling.poll_interval.seconds
        state.sources = backend_sources(*state.key, spec, self._settings.backend_defaults)
        await state.connection.ensure(state.sources)
        if state.measured_at is None or now - state.measured_at >= poll_interval_s - 0.05:
            state.measurement = await state.connection.measure()
            state.measured_at = now
        try:
            await self._children.observe(state)
        except ForbiddenError as error:
            state.refusal = _not_created(error)

    async def _plan_and_apply(self, state: PoolState) -> float | None:
        plan = plan_pool(state.spec, self._observed(state), self._clock.now())
        state.memory = plan.memory
        look_again_s = None
        if state.spec is not None and state.connection.settings:
            before = state.build_problem
            try:
                await self._children.apply(state, state.spec, plan.replicas)
                state.build_problem = state.refusal = None
            except ForbiddenError as error:
                state.refusal = _not_created(error)
            except NameTakenError as error:
                state.build_problem = WorkerProblem("NameTaken", str(error))
            except (OverlayError, RejectedError) as error:
                state.build_problem = WorkerProblem("InvalidTemplate", f"the worker's pod template: {error}")
            look_again_s = 0.1 if state.build_problem != before else None
        await self._conclude(state, plan)
        return look_again_s

    async def _conclude(self, state: PoolState, plan: PoolPlan) -> None:
        if plan.write:
            try:
                answer = await self._kube.patch_status(
                    WORKER_POOLS, *state.key, uid=state.identity.uid, status=plan.status.to_document()
                )
            except NotFoundError:
                return
            state.absorb(answer)
            state.previous = plan.status
            state.written_at = self._clock.now()
            subject = Subject(WORKER_POOLS, *state.key, state.identity.uid)
            for notice in plan.notices:
                await self._events.record(subject, Event(notice.reason, notice.message, notice.type))

    def _observed(self, state: PoolState) -> PoolObserved:
        stalled = state.last_reconciliation.stalled_runs if state.last_reconciliation else None
        client = state.connection.client
        queue_name = (
            client.queue_name if client else getattr(state.sources.get("FLOWCRAFT_QUEUE"), "text", "")
        )
        return PoolObserved(
            queue_name=queue_name,
            selector=state.identity.selector_text,
            generation=state.generation,
            measurement=state.measurement,
            health=state.connection.health,
            deployment=state.deployment,
            problem=state.workers_problem,
            obstacle=self._obstacle(state),
            runs=self.runs.counts(state.key).model_copy(update={"stalled": stalled}),
            last_reconciliation=state.last_reconciliation,
            previous=state.previous,
            written_at=state.written_at,
            memory=state.memory,
        )

    def _obstacle(self, state: PoolState) -> WorkerProblem | None:
        if problem := state.spec_problem or state.build_problem:
            return problem
        if (claim := state.claim) is None:
            return None
        claims = [each.claim for each in self._states.values()]
        owner = queue_owner(claim, [each for each in claims if each is not None])
        if owner is None:
            return None
        message = (
            f"Queue {claim.queue} is used by the older pool {owner.namespace}/{owner.name}: "
            "set another name in spec.backend.queue.name."
        )
        return WorkerProblem("QueueConflict", message)

    def _is_usable(self, state: PoolState) -> bool:
        return self.problem(state.key, deleting=False) is None

    def _pass_on(self, state: PoolState) -> None:
        """Tell the runs when the pool becomes usable, or ceases to be, and when its workers do."""
        usable = self._is_usable(state)
        workers = self.workers_problem(state.key)
        reason = workers.reason if workers else ""
        if (usable, reason) != (state.was_usable, state.told_problem):
            state.was_usable, state.told_problem = usable, reason
            self.runs.look_again(state.key)
            for other in self._states.values():  # a queue that is given up may be another pool's to take
                if other is not state and self._obstacle(other) is not None:
                    self.queue.add(other.key)

    def _linger(self, state: PoolState) -> float | None:
        """Keep a deleted pool's connection as long as runs may need it for their cancellation."""
        left_s = LINGER_S - (self._clock.monotonic() - (state.gone_at or 0.0))
        if left_s > 0 and self.runs.active(state.key):
            return min(left_s, 5.0)
        if self._states.get(state.key) is state:
            del self._states[state.key]
        self._release(state)
        self.runs.look_again(state.key)
        for other in self._states.values():
            self.queue.add(other.key)
        return None


def _not_created(error: ForbiddenError) -> WorkerProblem:
    return WorkerProblem("WorkersNotCreated", f"the operator may not make the workers: {error}")

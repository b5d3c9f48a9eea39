"""What the operator keeps of a FlowcraftWorkerPool."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowcraft.distributed.reconciliation import Reconciler
from flowcraft_api.manifest import ManifestError, parse_worker_pool
from flowcraft_api.pool_status import FlowcraftWorkerPoolStatus, LastReconciliation
from flowcraft_api.timestamps import parse_instant
from flowcraft_api.worker_pool import WorkerPoolSpec
from flowcraft_operator.handlers.connection import PoolConnection
from flowcraft_operator.handlers.mirror import Mirror
from flowcraft_operator.handlers.run_record import Key
from flowcraft_operator.kube.resources import Resource
from flowcraft_operator.manifests.backend_sources import Source
from flowcraft_operator.manifests.identity import PoolIdentity
from flowcraft_operator.planning.pods import WorkerProblem
from flowcraft_operator.planning.pool import DeploymentSeen
from flowcraft_operator.planning.queue_owner import QueueClaim
from flowcraft_operator.planning.scaling import QueueMeasurement, ScalingMemory, Unmeasured


@dataclass(slots=True)
class Applied:
    """What of the pool's objects was applied last by this process.

    Attributes:
        manifests: Fingerprint of all manifests.
        generation: The Deployment's `metadata.generation` after it; another one: somebody changed it.
        versions: The resource versions of the others after it; another one, or none: the same.
        refused: Fingerprint of manifests that were refused.
        refusal: Why.
    """

    manifests: str = ""
    generation: int = -1
    versions: Mapping[Resource, str] = field(default_factory=dict)
    refused: str = ""
    refusal: str = ""


@dataclass(slots=True)
class PoolState:
    """One pool; times are seconds of the monotonic clock.

    Attributes:
        key: Its namespace and name.
        identity: What its objects are named and owned by.
        generation: `metadata.generation`.
        created_at: When it was created.
        spec: What is wanted; None while it cannot be read.
        spec_problem: Why it cannot be read.
        build_problem: Why its objects cannot be made as the spec says.
        sources: Where its connection settings come from.
        connection: Its way to the backend.
        mirror: Of its runs' headers.
        mirroring: The mirror's task.
        previous: The status that was written last.
        written_at: When that was.
        measurement: The newest depth of the queue.
        measured_at: When it was measured.
        memory: Of scaling.
        deployment: The Deployment as it was seen last.
        deployment_at: When that was.
        companions_at: When the objects beside the Deployment were looked at last.
        problem: What keeps its workers from running.
        refusal: Why the operator may not make its objects what they should be.
        applied: What was applied last.
        last_reconciliation: What the last reconciliation did.
        reconciled_at: When that was.
        reconciler: Of the pool's backend; it remembers when it last looked at every run.
        quiet: It found nothing, and no run was active.
        was_usable: Whether runs could be started at the last look.
        told_problem: Reason why no worker runs that its runs were told last.
        gone_at: When the pool was deleted; its connection lingers for the runs that are deleted with it.
    """

    key: Key
    identity: PoolIdentity
    connection: PoolConnection
    mirror: Mirror
    generation: int | None = None
    created_at: datetime | None = None
    spec: WorkerPoolSpec | None = None
    spec_problem: WorkerProblem | None = None
    build_problem: WorkerProblem | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    mirroring: asyncio.Task[None] | None = None
    previous: FlowcraftWorkerPoolStatus | None = None
    written_at: datetime | None = None
    measurement: QueueMeasurement = field(default_factory=lambda: Unmeasured("not measured yet"))
    measured_at: float | None = None
    memory: ScalingMemory = field(default_factory=ScalingMemory)
    deployment: DeploymentSeen | None = None
    deployment_at: float | None = None
    companions_at: float | None = None
    problem: WorkerProblem | None = None
    refusal: WorkerProblem | None = None
    applied: Applied = field(default_factory=Applied)
    last_reconciliation: LastReconciliation | None = None
    reconciled_at: float | None = None
    reconciler: Reconciler | None = None
    quiet: bool = False
    was_usable: bool = False
    told_problem: str = ""
    gone_at: float | None = None

    def absorb(self, body: Mapping[str, Any]) -> None:
        """Take a newer object of the API server."""
        metadata = body["metadata"]
        self.generation = metadata.get("generation")
        self.created_at = parse_instant(metadata.get("creationTimestamp"))
        self.previous = _previous(body) or self.previous
        try:
            self.spec, self.spec_problem = parse_worker_pool(body).spec, None
        except ManifestError as error:
            self.spec, self.spec_problem = None, WorkerProblem("InvalidSpec", str(error))

    @property
    def workers_problem(self) -> WorkerProblem | None:
        """Why no worker runs, as far as is known."""
        return self.problem or self.refusal

    @property
    def claim(self) -> QueueClaim | None:
        """The pool's wish for its queue; None while its account is not known."""
        backend = self.connection.backend
        if backend is None or self.gone_at is not None:
            return None
        return QueueClaim(backend.account, backend.client.queue_name, self.created_at, *self.key)


def _previous(body: Mapping[str, Any]) -> FlowcraftWorkerPoolStatus | None:
    document = body.get("status")
    try:
        return FlowcraftWorkerPoolStatus.model_validate(document) if document else None
    except ValueError:
        return None

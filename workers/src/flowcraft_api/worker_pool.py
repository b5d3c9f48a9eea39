"""The spec of a FlowcraftWorkerPool: which program runs, how many of it, how its runs are looked after."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from flowcraft_api.backend import MAX_QUEUE_NAME_LENGTH, POISON_SUFFIX, BackendSpec
from flowcraft_api.documents import FreeFormObject, SpecModel, rule
from flowcraft_api.durations import Duration, PositiveDuration

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_APP_PATTERN = rf"^{_NAME}(\.{_NAME})*:{_NAME}$"
_MIN_OVER_MAX = "minReplicas must not be more than maxReplicas"


LabelValue = Annotated[str, Field(max_length=63)]
AnnotationValue = Annotated[str, Field(max_length=65_536)]


class ScalingSpec(SpecModel):
    """How many workers run, following the messages that wait and the jobs in flight."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.minReplicas <= self.maxReplicas",
                    f"{_MIN_OVER_MAX}: lower the one or raise the other",
                )
            ]
        }
    )

    min_replicas: int = Field(default=0, ge=0, le=1000)
    """The number of workers that run even when there is nothing to do. With 0 an idle pool costs nothing.
    This is what `kubectl scale` sets."""

    max_replicas: int = Field(default=20, ge=1, le=1000)
    """The number of workers that is never exceeded, however long the queue is."""

    jobs_per_replica: int | None = Field(default=None, ge=1, le=100_000)
    """How many jobs (visible messages and jobs in flight) one worker is expected to take: 40 jobs at 16 a
    replica ask for 3 replicas. Without it, the value of spec.concurrency."""

    poll_interval: PositiveDuration = Duration("2s")
    """How often the depth of the queue is measured."""

    cooldown: Duration = Duration("60s")
    """How long fewer workers must have been enough before workers are removed."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"{_MIN_OVER_MAX}, but {self.min_replicas} > {self.max_replicas}: "
                "lower the one or raise the other"
            )
        return self


class ReconciliationSpec(SpecModel):
    """How runs are found and repaired whose messages were lost or whose worker died."""

    interval: PositiveDuration = Duration("60s")
    """How often runs that are due are looked for."""

    stalled_threshold: PositiveDuration = Duration("300s")
    """How long an active run must have been untouched before it counts as stalled and is looked at."""


class PoisonSpec(SpecModel):
    """When a message is given up."""

    max_deliveries: int = Field(default=5, ge=1, le=100)
    """How often a message may be delivered without success until its node is recorded as failed and the
    message is moved to the poison queue. Give-backs and alarms do not count."""


class RetentionSpec(SpecModel):
    """How long the facts of ended runs are kept."""

    ttl_after_finished: Duration = Duration("168h")
    """How long the facts of a run are kept after its end, unless the run says otherwise; then they are
    deleted from the backend."""


class PodMetadataOverlay(SpecModel):
    """Labels and annotations that are added to the worker pods."""

    labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=64)
    """Labels that are added to the worker pods. The operator's own labels cannot be changed."""

    annotations: dict[str, AnnotationValue] = Field(default_factory=dict, max_length=64)
    """Annotations that are added to the worker pods."""


class PodTemplateOverlay(SpecModel):
    """A pod template that is laid over the one the operator makes."""

    metadata: PodMetadataOverlay = PodMetadataOverlay()
    """Labels and annotations that are added to the worker pods."""

    spec: FreeFormObject = Field(default_factory=dict)
    """A part of a PodSpec. Objects are merged field by field, and lists as Kubernetes merges them:
    containers, env, volumes and so on by their keys. The worker's own container is called `worker`; for
    example {containers: [{name: worker, resources: {limits: {memory: 512Mi}}}], nodeSelector: {pool:
    shop}}."""


class WorkerPoolSpec(SpecModel):
    """What a pool of workers runs, where it keeps its runs, and how many workers there are."""

    image: str = Field(min_length=1, max_length=1024, pattern=r"^[^\s]+$")
    """The image that holds the application and the Flowcraft runtime, for example example/shop:1.4.0."""

    app: str = Field(max_length=512, pattern=_APP_PATTERN)
    """The application in the image, as module:attribute: what a worker imports, for example
    shop.flows:app."""

    concurrency: int = Field(default=16, ge=1, le=1024)
    """How many jobs one worker runs at the same time."""

    scaling: ScalingSpec = ScalingSpec()
    """How many workers run, following the depth of the queue."""

    reconciliation: ReconciliationSpec = ReconciliationSpec()
    """How stalled runs are found and repaired."""

    poison: PoisonSpec = PoisonSpec()
    """When a message that is delivered again and again is given up."""

    retention: RetentionSpec = RetentionSpec()
    """How long the facts of ended runs are kept."""

    backend: BackendSpec = BackendSpec()
    """Where the pool keeps its runs. Every part is optional: the operator's own settings are the default."""

    template: PodTemplateOverlay | None = None
    """A pod template that is laid over the one the operator makes, for resources, node selection, volumes,
    further environment variables and the like."""

    @property
    def jobs_per_replica(self) -> int:
        """`scaling.jobs_per_replica`, or its default: as many jobs as one worker runs at a time."""
        return self.scaling.jobs_per_replica or self.concurrency


def queue_name(namespace: str, pool: str, spec: WorkerPoolSpec | None = None) -> str:
    """The name of the queue a pool uses.

    `<namespace>-<pool>` where that is a queue name Azure accepts with `-poison` appended (3-63 characters,
    lower-case letters, digits, single hyphens) and no other queue's poison queue; else the nearest such name
    with a hash of the full one, so that different pools keep different queues.
    """
    if spec is not None and spec.backend.queue.name is not None:
        return spec.backend.queue.name
    wanted = f"{namespace}-{pool}"
    allowed = re.sub(r"[^a-z0-9]+", "-", wanted).strip("-")
    fits = len(wanted) <= MAX_QUEUE_NAME_LENGTH and not wanted.endswith(POISON_SUFFIX)
    if allowed == wanted and fits:
        return wanted
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:8]
    return f"{allowed[: MAX_QUEUE_NAME_LENGTH - 9].rstrip('-')}-{digest}"


def pod_template_document(spec: WorkerPoolSpec) -> dict[str, Any]:
    """The overlay as a plain document (`{metadata, spec}`), empty where there is none."""
    return {} if spec.template is None else spec.template.model_dump(mode="json", by_alias=True)

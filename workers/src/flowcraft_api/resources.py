"""The two resources as a whole, and how the API server presents each: names, columns, subresources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from flowcraft_api.documents import SUBDOMAIN_PATTERN, rule
from flowcraft_api.pool_status import FlowcraftWorkerPoolStatus
from flowcraft_api.timestamps import Timestamp
from flowcraft_api.worker_pool import WorkerPoolSpec
from flowcraft_api.workflow_run import WorkflowRunSpec, WorkflowRunStatus

GROUP = "flowcraft.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MAX_POOL_NAME_LENGTH = 47
"""A pool's name becomes a part of the names and labels (63 characters) of its Deployment and pods."""

_POOL_NAME = (
    f"a pool's name has at most {MAX_POOL_NAME_LENGTH} characters: lower-case letters, digits and hyphens, "
    "beginning and ending with a letter or digit"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; a priority above 0 shows it with `-o wide` only."""

    name: str
    json_path: str
    type: Literal["string", "integer", "date", "boolean"] = "string"
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ScaleSubresource:
    """Where `kubectl scale` and autoscalers read and write the number of replicas."""

    spec_replicas_path: str
    status_replicas_path: str
    label_selector_path: str


@dataclass(frozen=True, slots=True)
class ResourceDefinition:
    """How the API server presents a resource: what of a CRD is not schema."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable_fields: tuple[str, ...] = ()
    scale: ScaleSubresource | None = None
    rules: tuple[Mapping[str, JsonValue], ...] = ()
    """CEL rules of the whole object: only here a rule can see metadata.name."""


class ObjectMeta(BaseModel):
    """What this project reads of an object's metadata; the rest is carried along."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow", frozen=True, populate_by_name=True)

    name: str = Field(min_length=1, max_length=253, pattern=SUBDOMAIN_PATTERN)
    namespace: str | None = None
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None


class _Resource(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    api_version: Literal["flowcraft.io/v1alpha1"]
    metadata: ObjectMeta

    def to_document(self) -> dict[str, Any]:
        """The resource as a manifest: camelCase, with its defaults, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class FlowcraftWorkerPool(_Resource):
    """A FlowcraftWorkerPool is a group of workers that run workflows.

    It names an image with an application, a queue from which the workers take jobs, and how many workers
    there may be: as many as the queue needs, from none to a maximum.
    """

    definition: ClassVar[ResourceDefinition] = ResourceDefinition(
        kind="FlowcraftWorkerPool",
        plural="flowcraftworkerpools",
        singular="flowcraftworkerpool",
        short_names=("fwp",),
        columns=(
            Column(
                "Ready",
                '.status.conditions[?(@.type=="Ready")].status',
                description="Whether the pool can work",
            ),
            Column("Replicas", ".status.replicas", "integer", "The number of worker pods"),
            Column(
                "Desired", ".status.desiredReplicas", "integer", "The number of worker pods there should be"
            ),
            Column("Queue", ".status.queue.summary", description="The number of visible messages"),
            Column("Running", ".status.runs.running", "integer", "The number of runs being worked on"),
            Column("Age", ".metadata.creationTimestamp", "date", "The time since the pool was created"),
            Column(
                "Reason",
                '.status.conditions[?(@.type=="Ready")].reason',
                description="Why the pool is ready or not",
                priority=1,
            ),
            Column("Awaiting", ".status.runs.awaiting", "integer", "The number of waiting runs", priority=1),
            Column("Image", ".spec.image", description="The image of the workers", priority=1),
        ),
        selectable_fields=(".spec.image",),
        scale=ScaleSubresource(".spec.scaling.minReplicas", ".status.replicas", ".status.selector"),
        rules=(
            rule(
                f"self.metadata.name.size() <= {MAX_POOL_NAME_LENGTH} && !self.metadata.name.contains('.')",
                _POOL_NAME,
            ),
        ),
    )

    kind: Literal["FlowcraftWorkerPool"]
    spec: WorkerPoolSpec
    """What the pool runs, where it keeps its runs, and how many workers there are."""

    status: FlowcraftWorkerPoolStatus | None = None
    """What is known about the pool. It is written by the operator."""


class WorkflowRun(_Resource):
    """A WorkflowRun is one run of a workflow.

    Applying it starts the run, its status shows how far the run is and how it ended, and deleting it
    cancels the run.
    """

    definition: ClassVar[ResourceDefinition] = ResourceDefinition(
        kind="WorkflowRun",
        plural="workflowruns",
        singular="workflowrun",
        short_names=("wfr",),
        columns=(
            Column("Pool", ".spec.poolRef.name", description="The pool that runs it"),
            Column("Blueprint", ".status.blueprint.name", description="The blueprint that is run"),
            Column("Status", ".status.phase", description="The state of the run"),
            Column(
                "Progress", ".status.progress", description="How many of the known node keys are resolved"
            ),
            Column("Duration", ".status.duration", description="How long the run has been going on, or took"),
            Column("Age", ".metadata.creationTimestamp", "date", "The time since the run was created"),
            Column("Version", ".status.blueprint.version", description="The pinned version", priority=1),
            Column(
                "Reason",
                '.status.conditions[?(@.type=="Succeeded")].reason',
                description="Why the run is in this state",
                priority=1,
            ),
        ),
        selectable_fields=(".spec.poolRef.name", ".spec.blueprint.name", ".status.phase"),
    )

    kind: Literal["WorkflowRun"]
    spec: WorkflowRunSpec
    """Which blueprint runs in which pool with which input, and what is asked of the run meanwhile."""

    status: WorkflowRunStatus | None = None
    """What is known about the run. It is written by the operator."""

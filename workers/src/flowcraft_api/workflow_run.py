"""The spec and the status of a WorkflowRun."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from flowcraft_api.conditions import Condition
from flowcraft_api.documents import (
    SUBDOMAIN_PATTERN,
    AnyJson,
    FreeFormObject,
    SpecModel,
    StatusModel,
    immutable,
    one_of_rule,
    rule,
)
from flowcraft_api.durations import Duration, PositiveDuration
from flowcraft_api.timestamps import Timestamp

MAX_DECISIONS = 100
MAX_NODE_KEY_LENGTH = 1024
MAX_LISTED = 20
"""How many waiting nodes, and how many failures, a status lists at most."""

_ONE_SOURCE = "give exactly one of name, inline and configMapRef"
_VERSION_NEEDS_NAME = (
    "version belongs to name: an inline blueprint or one from a ConfigMap holds its own version"
)


class PoolReference(SpecModel):
    """A FlowcraftWorkerPool in the namespace of the run."""

    name: str = Field(min_length=1, max_length=63, pattern=SUBDOMAIN_PATTERN)
    """The name of a FlowcraftWorkerPool in the namespace of the run. If it does not exist yet, the run
    waits."""


class ConfigMapKeyRef(SpecModel):
    """One key of a ConfigMap in the namespace of the run."""

    name: str = Field(min_length=1, max_length=253, pattern=SUBDOMAIN_PATTERN)
    """The name of a ConfigMap in the namespace of the run."""

    key: str = Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")
    """The key in the ConfigMap whose value is the blueprint, as JSON."""


class BlueprintSource(SpecModel):
    """The blueprint that is run: by name, inline, or from a ConfigMap."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(one_of_rule("name", "inline", "configMapRef"), _ONE_SOURCE),
                rule("!has(self.version) || has(self.name)", _VERSION_NEEDS_NAME),
            ]
        }
    )

    name: str | None = Field(default=None, min_length=1, max_length=253)
    """The id of a blueprint that the pool's application knows, for example order."""

    version: str | None = Field(default=None, min_length=1, max_length=128)
    """The version of the named blueprint. Without it, the version that the worker knows which starts the
    run. The version is pinned at the start: an application that changes later does not change a run."""

    inline: FreeFormObject | None = None
    """The blueprint itself, as the JSON that `flow.to_blueprint()` gives: id, nodes, edges, metadata. Every
    implementation that its nodes use must be in the pool's application."""

    config_map_ref: ConfigMapKeyRef | None = None
    """The key of a ConfigMap whose value is the blueprint as JSON. It is read once, when the run starts."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(source is not None for source in (self.name, self.inline, self.config_map_ref)) != 1:
            raise ValueError(_ONE_SOURCE)
        if self.version is not None and self.name is None:
            raise ValueError(_VERSION_NEEDS_NAME)
        return self


class Decision(SpecModel):
    """The answer to one waiting node."""

    model_config = ConfigDict(json_schema_extra=immutable("a decision that was given cannot be changed"))

    node_key: str = Field(min_length=1, max_length=MAX_NODE_KEY_LENGTH)
    """The key of the waiting node, as status.awaiting shows it, for example approve. A decision for a node
    that does not wait yet is kept until it does."""

    action: str | None = Field(default=None, min_length=1, max_length=253)
    """The action with which the node ends, which selects the edges that are taken, for example approved."""

    output: AnyJson = None
    """The output of the node, any JSON value, for example {by: ada}."""


class WorkflowRunSpec(SpecModel):
    """Which blueprint runs in which pool with which input, and what is asked of the run meanwhile."""

    pool_ref: PoolReference = Field(
        json_schema_extra=immutable(
            "poolRef is immutable: delete the run and apply it again to start a new one"
        )
    )
    """The pool whose workers run this workflow, in the same namespace. It cannot be changed."""

    blueprint: BlueprintSource = Field(
        json_schema_extra=immutable(
            "blueprint is immutable: delete the run and apply it again to start a new one"
        )
    )
    """The blueprint that is run: by name, inline, or from a ConfigMap. It cannot be changed."""

    input: FreeFormObject = Field(
        default_factory=dict,
        json_schema_extra={"default": {}}
        | immutable("input is immutable: delete the run and apply it again to start a new one"),
    )
    """The input of the run, a JSON object: the first layer of its context, and the input of its start
    nodes. It cannot be changed."""

    deadline: PositiveDuration | None = None
    """How long the run may take, counted from its acceptance, for example 1h. A run that takes longer ends
    Failed with the reason DeadlineExceeded. Without it, there is no limit."""

    ttl_after_finished: Duration | None = None
    """How long the facts of the run are kept in the backend after its end. Without it, the pool's
    retention.ttlAfterFinished."""

    suspend: bool = False
    """Whether the run pauses: nodes that are running end, and no other is started until this is false
    again."""

    cancel: bool = False
    """Whether the run is cancelled. There is no way back: setting it to false again is accepted and
    ignored."""

    decisions: list[Decision] = Field(
        default_factory=list,
        max_length=MAX_DECISIONS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["nodeKey"]},
    )
    """The answers to waiting nodes, one for each node key. An answer cannot be changed once it is given;
    taking it out of the list does not take it back."""

    @model_validator(mode="after")
    def _one_decision_per_node(self) -> Self:
        keys = [decision.node_key for decision in self.decisions]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"decisions has more than one entry for the node key {twice[0]}: keep one")
        return self


class RunPhase(StrEnum):
    """A run's state in one word, for people; programs read the conditions."""

    PENDING = "Pending"
    RUNNING = "Running"
    AWAITING = "Awaiting"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a run in this phase has ended."""
        return self in (RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.CANCELLED)


class PinnedBlueprint(StatusModel):
    """The blueprint of the run: what is known of it, and from the pin on exactly what runs."""

    name: str | None = Field(default=None, max_length=253)
    """The id of the blueprint."""

    version: str | None = Field(default=None, max_length=128)
    """The version that the run is pinned to."""

    hash: str | None = Field(default=None, max_length=128)
    """The hash of the content that the run is pinned to. It is set once a worker has started the run."""


class AwaitingNode(StatusModel):
    """A node that waits."""

    node_key: str = Field(max_length=MAX_NODE_KEY_LENGTH)
    """The key of the node: the nodeKey of a decision that answers it."""

    kind: Literal["wait", "webhook", "sleep", "retry", "run", "children"]
    """What it waits for. A decision answers wait and webhook, sleep is a time, retry is its next attempt,
    run is another run, children are nodes that it made."""

    since: Timestamp | None = None
    """Since when it waits."""

    until: Timestamp | None = None
    """When it goes on by itself. A node that waits for a decision without a time limit has no such time."""

    run_id: str | None = Field(default=None, max_length=255)
    """The run that a subflow waits for."""

    address: str | None = Field(default=None, max_length=2048)
    """Where a webhook is called. Whoever knows it may answer the node."""


class NodeFailure(StatusModel):
    """A node that failed."""

    node_key: str = Field(max_length=MAX_NODE_KEY_LENGTH)
    """The key of the node."""

    type: str | None = Field(default=None, max_length=253)
    """The type of the error, for example ValueError."""

    error: str = Field(default="", max_length=1024)
    """The message of the error, cut where it is long."""

    attempt: int | None = Field(default=None, ge=0)
    """The number of the attempt that failed last, counted from 1."""

    at: Timestamp | None = None
    """When it failed."""


class WorkflowRunStatus(StatusModel):
    """What is known about the run. It is mirrored from the backend, at most every few seconds."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation of the run that this status was computed from."""

    run_id: str | None = Field(default=None, max_length=253)
    """The id of the run in the backend: the metadata.uid of this resource, so that applying the same
    manifest twice is one run, and deleting and applying it again is a new one."""

    phase: RunPhase = RunPhase.PENDING
    """The state of the run in one word: Pending (not in the backend yet), Running (the condition Succeeded
    says if no worker has taken it on), Awaiting (nothing else can move until a decision is given or a time
    has come), Suspended, Succeeded, Failed or Cancelled."""

    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """The conditions Accepted (the run has been taken into the backend), Succeeded (Unknown while it is
    active), and Finished (True at any end; for `kubectl wait --for=condition=Finished`)."""

    blueprint: PinnedBlueprint | None = None
    """The blueprint of the run, with version and hash once it is pinned."""

    started_at: Timestamp | None = None
    """When a worker took the run on; where the blueprint comes with the run, when it was accepted."""

    finished_at: Timestamp | None = None
    """When the run ended."""

    duration: str | None = Field(default=None, max_length=32)
    """How long the run has been going on since startedAt, or took: waits count, the time until a worker
    took it on does not. While it is active this may lag."""

    progress: str | None = Field(default=None, max_length=32)
    """How many of the node keys known so far are resolved, for example 2/4. It may lag, and is exact at the
    end."""

    deadline_at: Timestamp | None = None
    """When the run fails if it has not ended by then."""

    output: AnyJson = None
    """The output of the run, an object by the ids of its last nodes, where it is small (up to 8 KiB). A
    larger one is printed by `flowcraft get`."""

    awaiting: list[AwaitingNode] = Field(
        default_factory=list, max_length=MAX_LISTED, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )
    """The nodes that wait, at most 20 of them."""

    failures: list[NodeFailure] = Field(
        default_factory=list, max_length=MAX_LISTED, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )
    """The nodes that failed, at most 20 of them."""

    def to_document(self) -> dict[str, Any]:
        """The JSON form that is written to the API server; a null within the output is a part of it."""
        document = super().to_document()
        return document if self.output is None else document | {"output": self.output}

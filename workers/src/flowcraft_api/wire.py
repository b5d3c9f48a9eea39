"""The run header as it is stored (JSON): what workers write, and the operator and the command line read."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

HeaderStatus = Literal["running", "awaiting", "paused", "completed", "failed", "cancelled"]

TERMINAL_STATUSES: frozenset[str] = frozenset({"completed", "failed", "cancelled"})
"""Once a header has one of these it never changes to another status."""


class NodeErrorDocument(TypedDict, total=False):
    """Why a node failed."""

    nodeKey: str
    type: str
    message: str
    attempt: int
    at: str


class AwaitingDocument(TypedDict, total=False):
    """A node that waits.

    For a decision (`wait`, `webhook`), a time (`sleep`), its next attempt (`retry`), another run (`run`, a
    subflow), or the nodes that it made (`children`).
    """

    nodeKey: str
    kind: Literal["wait", "webhook", "sleep", "retry", "run", "children"]
    since: str
    until: str | None
    runId: str
    """The child run that is waited for."""
    address: str
    """Where the webhook's caller sends its answer; empty where no address is set up."""


class ProgressDocument(TypedDict):
    """How many of the node keys known so far are resolved."""

    done: int
    total: int


class RepairsDocument(TypedDict):
    """How often reconciliation has signalled the run without progress, and when last."""

    count: int
    at: str
    done: int


class ParentDocument(TypedDict, total=False):
    """The run and the node key that wait for this run to end."""

    runId: str
    nodeKey: str
    queue: str
    depth: int
    """How many runs are above this one."""


class PatchDocument(TypedDict, total=False):
    """Context keys that somebody changed from outside, for a run that goes on from another one."""

    set: dict[str, Any]
    unset: list[str]


class ContinuesDocument(TypedDict, total=False):
    """The run whose results this one goes on from: it was retried, or run again from a node."""

    runId: str
    firstRunId: str
    """The run whose id the idempotency keys of all nodes bear."""
    generation: int
    """1 for the first retry of a run; a run started by `rerun` has none."""
    nodes: list[str]
    """The nodes from which it was run again; empty for a retry."""
    count: int
    """How many node keys it takes over."""
    keysRef: str
    """The item id of the list of adopted keys, where that is long; else it is in `adoptedKeys`."""
    patch: PatchDocument
    """Context keys that have another value than the run before left."""
    asked: str
    """Tells one input and patch that were asked for from others; missing where neither was."""
    copied: bool
    """Their records and context are here; nothing is signalled before."""


class HeaderDocument(TypedDict, total=False):
    """One run's item in the status container.

    All times are ISO-8601 in UTC. Every field may be missing: a reader asks for a projection (never for
    `blueprint`), and a client that writes the header by hand knows only `id`, `status` and `lastUpdated`.
    """

    id: str
    runId: str
    type: Literal["header"]
    v: Literal[1]
    status: HeaderStatus
    queue: str
    pool: str
    namespace: str
    name: str | None
    """The name of the WorkflowRun, where one stands for this run; of a child run, parent/node key."""
    blueprintId: str
    blueprintVersion: str | None
    blueprintHash: str | None
    """Set once the run is pinned."""
    blueprint: dict[str, Any] | None
    """The pinned snapshot, where it is small."""
    blueprintRef: str | None
    """The item id of the pinned snapshot, where it is large."""
    input: Any
    output: Any
    errors: list[NodeErrorDocument]
    reason: str | None
    """One CamelCase word: why it ended as it did (NodeFailed, DeadlineExceeded, Cancelled), or why it
    cannot move."""
    message: str | None
    createdAt: str
    startedAt: str | None
    finishedAt: str | None
    lastUpdated: str
    deadlineAt: str | None
    nextCheck: str | None
    expiresAt: str | None
    ttlAfterFinishedS: float | None
    awaiting: list[AwaitingDocument]
    progress: ProgressDocument
    repairs: RepairsDocument
    parent: ParentDocument
    """Set in a child run: a subflow of another run. It is on its parent's queue, and kept as long."""
    subflows: bool
    """It may have child runs."""
    plainInput: bool
    """The input is JSON as somebody wrote it, and has keys that a serializer takes for its own."""
    continues: ContinuesDocument
    adoptedKeys: list[str]
    """The node keys whose records are taken over from the run that this one continues."""
    adopted: bool
    """Created from a header that a hand-written client left without partition key."""

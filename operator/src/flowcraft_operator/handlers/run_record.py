"""What the operator keeps of a WorkflowRun while it is not settled; nothing is kept of settled ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from flowcraft.distributed.runs.header import counted
from flowcraft_api.run_status import RunObstacle
from flowcraft_api.timestamps import parse_instant
from flowcraft_api.wire import HeaderDocument
from flowcraft_api.workflow_run import RunPhase, WorkflowRunStatus

RUN_FINALIZER: Final = "flowcraft.io/run"
POOL_FINALIZER: Final = "flowcraft.io/pool"
"""Set by Kopf, whose timers end before a pool goes."""
_FINAL: Final = frozenset(phase.value for phase in RunPhase if phase.is_final)
_LARGE: Final = ("input", "blueprint")
"""What a header holds that nobody needs here: it would be kept in memory for each active run."""


class Key(NamedTuple):
    """Namespace and name of a resource."""

    namespace: str
    name: str


@dataclass(slots=True)
class RunRecord:
    """One WorkflowRun.

    Attributes:
        key: Its namespace and name.
        uid: Its uid, which is the id of the run.
        pool: Its pool.
        body: The newest object of the API server, as JSON: a tenth of the memory of its decoded form.
        resource_version: Of that object.
        phase: Of the status in it.
        deleting: It is to be deleted.
        header: The newest header projection.
        etag: Of that.
        header_known: The header was looked for.
        sightings: How often it was seen: tells an answer that was asked for before the newest one.
        missing_since: Since when an accepted run's header is not found.
        failure: Why the last step failed.
        retry_at: When to try again; until then the failure stands.
        decided: Node keys that were decided, and when.
        refused: Node keys whose decision was refused for good.
        drift: What was found when spec and header were compared.
        compared: The generation that was compared.
        misdirected: Decisions that cannot be meant, by node key, and why not.
        decisions_of: The generation and the pinned blueprint for which decisions were looked at.
        written_at: When the status was written last, or the record made.
        too_deep: The object is nested deeper than anything here reads; its spec is not kept.
    """

    key: Key
    uid: str
    pool: Key
    body: bytes
    resource_version: int
    phase: str
    deleting: bool
    written_at: datetime
    header: HeaderDocument | None = None
    etag: str = ""
    header_known: bool = False
    sightings: int = 0
    missing_since: datetime | None = None
    failure: RunObstacle | None = None
    retry_at: datetime | None = None
    decided: dict[str, datetime] = field(default_factory=dict)
    drift: RunObstacle | None = None
    compared: int | None = None
    misdirected: Mapping[str, str] = field(default_factory=dict)
    decisions_of: tuple[int | None, str] | None = None
    too_deep: bool = False

    def absorb(self, body: Mapping[str, Any]) -> bool:
        """Take a newer object; False if it is an older one."""
        version = _version(body)
        if version < self.resource_version:
            return False
        self.body, self.too_deep = stored_body(body)
        self.resource_version = version
        self.phase = (body.get("status") or {}).get("phase") or ""
        self.deleting = bool(body["metadata"].get("deletionTimestamp"))
        return True

    def see_header(self, document: HeaderDocument | None, etag: str, now: datetime) -> None:
        """Take what was found in the backend."""
        self.header_known = True
        self.sightings += 1
        self.header = None if document is None else without_large(document)
        self.etag = etag
        if document is not None:
            self.missing_since = None
        elif self.missing_since is None:
            self.missing_since = now

    def see_progress(self, done: int) -> bool:
        """Take a count of resolved node keys; whether it is news."""
        before = self.header
        if before is not None:
            self.header = counted(before, done)
        return self.header is not before


def new_record(body: Mapping[str, Any], now: datetime) -> RunRecord:
    """A record of an object that is seen for the first time."""
    metadata = body["metadata"]
    key = Key(metadata["namespace"], metadata["name"])
    pool = ((body.get("spec") or {}).get("poolRef") or {}).get("name") or ""
    record = RunRecord(key, metadata["uid"], Key(key.namespace, pool), b"", -1, "", False, now)
    record.absorb(body)
    return record


def is_settled(body: Mapping[str, Any]) -> bool:
    """Whether nothing is left to do for an object: it ended, was told so, and nothing holds it."""
    metadata, status = body["metadata"], body.get("status") or {}
    return (
        status.get("phase") in _FINAL
        and RUN_FINALIZER not in (metadata.get("finalizers") or ())
        and status.get("observedGeneration") == metadata.get("generation")
    )


def previous_status(body: Mapping[str, Any]) -> WorkflowRunStatus | None:
    """The status that was written last; None if there is none, or none that can be read."""
    document = body.get("status")
    if not document:
        return None
    try:
        return WorkflowRunStatus.model_validate(document)
    except ValueError:
        return None


def deleting_since(body: Mapping[str, Any]) -> datetime | None:
    """When the deletion was asked for."""
    return parse_instant(body["metadata"].get("deletionTimestamp"))


def stored_body(body: Mapping[str, Any]) -> tuple[bytes, bool]:
    """An object without what nobody here reads, and whether it is nested too deeply to be kept whole."""
    metadata = {name: value for name, value in body["metadata"].items() if name not in _UNREAD}
    try:
        return orjson.dumps({**body, "metadata": metadata}), False
    except TypeError:  # deeper than the 254 levels that orjson writes; the API server takes 10,000
        return orjson.dumps({**body, "metadata": metadata, "spec": {}}), True


def without_large(document: HeaderDocument) -> HeaderDocument:
    """A header without the values that are large and not shown."""
    return {name: value for name, value in document.items() if name not in _LARGE}  # type: ignore[return-value]


_UNREAD: Final = frozenset({"managedFields", "annotations", "labels", "ownerReferences"})


def _version(body: Mapping[str, Any]) -> int:
    # Kubernetes promises an order of resource versions only since 1.35, and has always used etcd's revisions.
    text = str(body["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0

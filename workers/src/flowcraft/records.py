"""Node records: the one fact about a node key, as value and as stored document."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal, cast

from flowcraft.values import value_class

RecordStatus = Literal["completed", "failed", "skipped", "awaiting"]
AwaitKind = Literal["wait", "webhook", "sleep", "retry", "run", "children"]
RESOLVED: Final = frozenset({"completed", "failed", "skipped"})
_FEW: Final = 4
"""Edges that are looked through faster than searched."""


@value_class
class NodeRecord:
    """What is known for good about one node key of a run (only ``awaiting`` is replaced later).

    Attributes:
        key: The node key: node id, and one counter per enclosing loop, a child's index.
        node: The node id.
        status: ``completed``, ``failed``, ``skipped`` or ``awaiting``.
        output: The node's output (JSON); None in projections without outputs.
        action: The action it chose.
        taken: Positions in the pinned blueprint's edges of the outgoing edges it took, ascending; all others
            are dead.
        values: Values of taken edges with a transform, by edge position.
        attempt: Attempts used so far.
        error: ``type``, ``message`` and where known ``line`` of a failure.
        started_at: ISO-8601 UTC.
        finished_at: ISO-8601 UTC.
        worker: Who wrote it.
        delivery: Token of the delivery that wrote it: a conflict with it is one's own success.
        seq: Logical time: one more than the highest of its inputs.
        kind: Of an ``awaiting`` record: what it waits for.
        wake_at: Of an ``awaiting`` record: ISO-8601 UTC time of its alarm.
        decision: Of an ``awaiting`` record: ``action`` and ``output`` once somebody decided.
        children: Of a node key that owns children: how many there are, and how they are run (the form is
            ``engine.children.Children``'s). While it awaits them, ``output`` holds what they are made of.
        wrote: Names of the context keys that were written with it.
        waits_for: What the wait is told by, kept when it is over: ``runId`` of the child run of a subflow;
            ``token`` and ``address`` of a webhook.
        fallback: The node's fallback gave the result.
    """

    key: str
    node: str
    status: RecordStatus
    output: Any = None
    action: str | None = None
    taken: tuple[int, ...] = ()
    values: Mapping[int, Any] = field(default_factory=dict)
    attempt: int = 0
    error: Mapping[str, Any] | None = None
    started_at: str = ""
    finished_at: str = ""
    worker: str = ""
    delivery: str = ""
    seq: int = 0
    kind: AwaitKind | None = None
    wake_at: str | None = None
    decision: Mapping[str, Any] | None = None
    children: Mapping[str, Any] | None = None
    wrote: tuple[str, ...] = ()
    waits_for: Mapping[str, Any] | None = None
    fallback: bool = False

    @property
    def resolved(self) -> bool:
        """Whether the node key will never change again."""
        return self.status != "awaiting"

    def took(self, edge: int) -> bool:
        """Whether it took the edge at this position; a node may have thousands of edges."""
        taken = self.taken
        if len(taken) <= _FEW:
            return edge in taken
        place = bisect_left(taken, edge)
        return place < len(taken) and taken[place] == edge

    def to_document(self) -> dict[str, Any]:
        """The record's JSON, without what is at its default; backends add id, partition key and type."""
        document: dict[str, Any] = {"key": self.key, "node": self.node, "status": self.status}
        for name, value in (
            ("output", self.output),
            ("action", self.action),
            ("error", self.error),
            ("kind", self.kind),
            ("wakeAt", self.wake_at),
            ("decision", self.decision),
            ("children", self.children),
            ("waitsFor", self.waits_for),
        ):
            if value is not None:
                document[name] = value
        for name, value in (
            ("attempt", self.attempt),
            ("startedAt", self.started_at),
            ("finishedAt", self.finished_at),
            ("worker", self.worker),
            ("delivery", self.delivery),
            ("seq", self.seq),
        ):
            if value:
                document[name] = value
        if self.taken:
            document["taken"] = list(self.taken)
        if self.values:
            document["values"] = {str(edge): value for edge, value in self.values.items()}
        if self.wrote:
            document["wrote"] = list(self.wrote)
        if self.fallback:
            document["fallback"] = True
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> NodeRecord:
        """Read what ``to_document`` wrote; other keys are ignored."""
        get = document.get
        values = get("values")
        return cls(
            key=document["key"],
            node=document["node"],
            status=cast("RecordStatus", document["status"]),
            output=get("output"),
            action=get("action"),
            taken=tuple(get("taken", ())),
            values={int(edge): value for edge, value in values.items()} if values else {},
            attempt=get("attempt", 0),
            error=get("error"),
            started_at=get("startedAt", ""),
            finished_at=get("finishedAt", ""),
            worker=get("worker", ""),
            delivery=get("delivery", ""),
            seq=get("seq", 0),
            kind=get("kind"),
            wake_at=get("wakeAt"),
            decision=get("decision"),
            children=get("children"),
            wrote=tuple(get("wrote", ())),
            waits_for=get("waitsFor"),
            fallback=get("fallback", False),
        )

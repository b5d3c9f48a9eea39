"""Kubernetes Events: what happened to a resource, for `kubectl describe`; the same one is told once."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from flowcraft_api.timestamps import rfc3339
from flowcraft_operator.kube.client import FIELD_MANAGER, KubeClient
from flowcraft_operator.kube.errors import ConflictError, KubeError
from flowcraft_operator.kube.resources import EVENTS, Resource

REPEAT_AFTER: Final = timedelta(minutes=10)
"""A warning that goes on is counted up at most this often."""
HAPPENS_AFTER: Final = timedelta(seconds=5)
"""What is no warning happens each time, and is counted each time, but for a flood of it."""
REMEMBERED: Final = 2000
MAX_MESSAGE: Final = 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling: a stable CamelCase reason, and a sentence."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True, slots=True)
class Subject:
    """The resource an event is about."""

    resource: Resource
    namespace: str
    name: str
    uid: str


class EventRecorder:
    """Writes events; one of the same subject, reason and message becomes a count, also after a restart."""

    def __init__(self, client: KubeClient, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self._told: OrderedDict[str, datetime] = OrderedDict()

    async def record(self, subject: Subject, event: Event) -> None:
        """Tell an event. It never fails: an event is a courtesy."""
        now = self._now()
        name = _name(subject, event)
        last = self._told.get(name)
        if last is not None and now - last < counted_again_after(event):
            return
        self._remember(name, now)
        try:
            await self._write(name, subject, event, now)
        except KubeError as error:
            _log.info(
                "event %s of %s/%s not written: %s", event.reason, subject.namespace, subject.name, error
            )

    async def _write(self, name: str, subject: Subject, event: Event, now: datetime) -> None:
        try:
            await self._client.create(EVENTS, subject.namespace, _document(name, subject, event, now))
        except ConflictError:
            existing = await self._client.get(EVENTS, subject.namespace, name)
            change = {"count": (existing.get("count") or 1) + 1, "lastTimestamp": rfc3339(now)}
            await self._client.patch_merge(EVENTS, subject.namespace, name, change)

    def _remember(self, name: str, now: datetime) -> None:
        self._told[name] = now
        self._told.move_to_end(name)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)


def counted_again_after(event: Event) -> timedelta:
    """How long after an event the same one is not counted."""
    return REPEAT_AFTER if event.type == "Warning" else HAPPENS_AFTER


def _name(subject: Subject, event: Event) -> str:
    text = f"{subject.uid}\0{event.reason}\0{event.message}"
    return f"{subject.name[:200].rstrip('.-')}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _document(name: str, subject: Subject, event: Event, now: datetime) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": subject.namespace},
        "involvedObject": {
            "apiVersion": subject.resource.api_version,
            "kind": subject.resource.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
        "reason": event.reason,
        "message": event.message[:MAX_MESSAGE],
        "type": event.type,
        "count": 1,
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
    }

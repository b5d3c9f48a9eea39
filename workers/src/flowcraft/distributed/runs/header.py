"""The run header: what each verb makes of it in each status. Pure; times are given.

A function gives the new document, or None where there is nothing to change; a verb that the status forbids
raises ``RefusedError`` with what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from flowcraft.blueprint import Blueprint
from flowcraft.distributed.runs.verbs import Verb, permits
from flowcraft.times import iso, later, parse_time
from flowcraft_api.wire import TERMINAL_STATUSES, AwaitingDocument, HeaderDocument, NodeErrorDocument

ACTIVE: Final = ("running", "awaiting", "paused")
FORMAT: Final = 1
"""The form of headers and records that this code writes, and the newest that it reads (``v``)."""
MAX_LISTED: Final = 50
"""Awaiting keys and failures listed in a header; the records have all of them."""


Change = Callable[[HeaderDocument], HeaderDocument | None]
"""From a header to what it shall be; None where nothing is to change."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a start asks for.

    Attributes:
        run_id: Idempotency key of the start.
        blueprint_id: Which blueprint; the starter or the first worker that knows it pins its snapshot.
        version: Which version of it; None takes the one of whoever pins.
        input: The run's input, as JSON.
        encoded: The app's serializer made it; else it is as people wrote it, and means what it says.
        queue: Name of the queue whose workers run it.
        pool: Pool and name of the resource, for people.
        name: Name of the resource, for people.
        namespace: Namespace of the resource.
        deadline_s: Seconds from acceptance until the run fails with ``DeadlineExceeded``.
        ttl_after_finished_s: Seconds that its facts are kept after its end.
        suspended: Accepted, but not to be moved before it is resumed.
    """

    run_id: str
    blueprint_id: str
    version: str | None = None
    input: Any = None
    queue: str | None = None
    pool: str | None = None
    name: str | None = None
    namespace: str | None = None
    deadline_s: float | None = None
    ttl_after_finished_s: float | None = None
    suspended: bool = False
    encoded: bool = False


def new(request: RunRequest, now: datetime) -> HeaderDocument:
    """The header of a run that is being accepted."""
    document: dict[str, Any] = {
        "id": request.run_id,
        "runId": request.run_id,
        "type": "header",
        "v": FORMAT,
        "status": "paused" if request.suspended else "running",
        "blueprintId": request.blueprint_id,
        "input": request.input,
        "createdAt": iso(now),
        "lastUpdated": iso(now),
    }
    for name, value in (
        ("blueprintVersion", request.version),
        ("queue", request.queue),
        ("pool", request.pool),
        ("name", request.name),
        ("namespace", request.namespace),
        ("ttlAfterFinishedS", request.ttl_after_finished_s),
    ):
        if value is not None:
            document[name] = value
    if request.deadline_s is not None:
        document["deadlineAt"] = document["nextCheck"] = later(now, request.deadline_s)
    return cast("HeaderDocument", document)


def pinned(
    header: HeaderDocument, blueprint: Blueprint, now: datetime, *, queue: str, snapshot_ref: str = ""
) -> HeaderDocument:
    """The header with the blueprint that the run will follow to its end."""
    document = _changed(header, now)
    document["blueprintId"] = blueprint.id
    document["blueprintHash"] = blueprint.content_hash
    if blueprint.version is not None:
        document["blueprintVersion"] = blueprint.version
    if snapshot_ref:
        document["blueprintRef"] = snapshot_ref
    else:
        document["blueprint"] = blueprint.to_dict()
    document.setdefault("queue", queue)
    document.setdefault("startedAt", iso(now))
    document.setdefault("progress", {"done": 0, "total": _known_keys(blueprint)})
    if any(node.uses == "subflow" for node in blueprint.nodes):
        document["subflows"] = True
    _unblock(document)
    return cast("HeaderDocument", document)


def _known_keys(blueprint: Blueprint) -> int:
    """Node keys that a run has at its start: one a node, but for those that are only somebody's fallback."""
    entered = {edge.target for edge in blueprint.edges}
    fallbacks = {node.config.fallback for node in blueprint.nodes} - entered
    return sum(node.id not in fallbacks for node in blueprint.nodes)


def is_terminal(header: HeaderDocument) -> bool:
    """Whether the run has ended; its status never changes again."""
    return header.get("status") in TERMINAL_STATUSES


def is_of_newer_format(header: HeaderDocument) -> bool:
    """Whether a newer release of this program wrote it: only its workers know what is in it."""
    version: object = header.get("v")  # a hand-written header may have anything there
    return isinstance(version, int) and version > FORMAT


def is_pinned(header: HeaderDocument) -> bool:
    """Whether the run follows a snapshot already."""
    return bool(header.get("blueprintHash"))


def is_untouched(header: HeaderDocument) -> bool:
    """Whether nobody has written the header since it was accepted (pinned then, or not at all)."""
    accepted = header.get("createdAt")
    started = header.get("startedAt")
    if is_terminal(header) or started not in (None, accepted):
        return False
    return started is None or header.get("lastUpdated") == accepted


def deadline_passed(header: HeaderDocument, now: datetime) -> bool:
    """Whether an active run is past its deadline."""
    deadline = parse_time(header.get("deadlineAt"))
    return deadline is not None and deadline <= now and permits(Verb.DEADLINE, header)


def ended(
    header: HeaderDocument,
    status: str,
    now: datetime,
    *,
    output: Any = None,
    errors: Sequence[NodeErrorDocument] = (),
    reason: str = "",
    message: str = "",
    progress: tuple[int, int] | None = None,
) -> HeaderDocument | None:
    """The header of a run that ends now; None if it has ended already."""
    if is_terminal(header):
        return None
    document = _changed(header, now)
    document["status"] = status
    document["finishedAt"] = iso(now)
    document.pop("awaiting", None)
    document.pop("nextCheck", None)
    _unblock(document)
    if output is not None:
        document["output"] = output
    if errors:
        document["errors"] = list(errors)[:MAX_LISTED]
    if reason:
        document["reason"] = reason
    if message:
        document["message"] = message
    if progress:
        document["progress"] = {"done": progress[0], "total": progress[1]}
    kept_s = header.get("ttlAfterFinishedS")
    if kept_s is not None:
        document["expiresAt"] = later(now, kept_s)
    return cast("HeaderDocument", document)


def cancelled(header: HeaderDocument, now: datetime, resolved: int = 0) -> HeaderDocument | None:
    """The header of a run that somebody cancels, with so many node keys resolved; None if it is so already.

    Raises:
        RefusedError: it has completed or failed.
    """
    if not permits(Verb.CANCEL, header):
        return None
    total = header.get("progress", {}).get("total", 0)
    progress = (resolved, max(total, resolved)) if total else None
    return ended(header, "cancelled", now, reason="Cancelled", progress=progress)


def counted(header: HeaderDocument, done: int) -> HeaderDocument:
    """A header as it is shown when so many node keys were counted; the same one if that is no news."""
    before = header.get("progress")
    if before is None or done <= before["done"]:
        return header
    return {**header, "progress": {"done": done, "total": max(before["total"], done)}}


def suspended(header: HeaderDocument, now: datetime) -> HeaderDocument | None:
    """The header of a run that is paused; None if it is paused already.

    Raises:
        RefusedError: it has ended.
    """
    return _with_status(header, "paused", now) if permits(Verb.SUSPEND, header) else None


def resumed(header: HeaderDocument, now: datetime) -> HeaderDocument | None:
    """The header of a run that goes on; None if it is not paused.

    Raises:
        RefusedError: it has ended.
    """
    return _with_status(header, "running", now) if permits(Verb.RESUME, header) else None


def _with_status(header: HeaderDocument, status: str, now: datetime) -> HeaderDocument:
    document = _changed(header, now)
    document["status"] = status
    return cast("HeaderDocument", document)


def expiring(header: HeaderDocument, now: datetime, grace_s: float = 0.0) -> HeaderDocument | None:
    """The header of an ended run whose facts may go ``grace_s`` after its end; None if they may already.

    Raises:
        RefusedError: it is active.
    """
    permits(Verb.DELETE, header)
    at = later(parse_time(header.get("finishedAt")) or now, grace_s)
    known = header.get("expiresAt")
    if known is not None and known <= at:
        return None
    document = _changed(header, now)
    document["expiresAt"] = at
    return cast("HeaderDocument", document)


def expired(header: HeaderDocument, now: datetime) -> bool:
    """Whether the facts of an ended run may be deleted."""
    at = parse_time(header.get("expiresAt"))
    return at is not None and at <= now and is_terminal(header)


def with_awaiting(header: HeaderDocument, entry: AwaitingDocument, now: datetime) -> HeaderDocument | None:
    """The header that also lists a waiting node key; None if it lists it already or has ended."""
    listed = list(header.get("awaiting", ()))
    if is_terminal(header) or entry in listed or len(listed) >= MAX_LISTED:
        return None
    document = _changed(header, now)
    listed = [other for other in listed if other["nodeKey"] != entry["nodeKey"]]
    document["awaiting"] = [*listed, entry]
    _set_next_check(document)
    return cast("HeaderDocument", document)


def unlisted(header: HeaderDocument, node_key: str, now: datetime) -> HeaderDocument | None:
    """The header that does not list a node key any more, which had gone on before it was listed."""
    listed = header.get("awaiting", ())
    left = [entry for entry in listed if entry["nodeKey"] != node_key]
    if is_terminal(header) or len(left) == len(listed):
        return None
    document = _changed(header, now)
    document["awaiting"] = left
    if not left:
        del document["awaiting"]
    _set_next_check(document)
    return cast("HeaderDocument", document)


def woken(header: HeaderDocument, node_key: str, now: datetime) -> HeaderDocument | None:
    """The header of a run one of whose waiting node keys goes on."""
    listed = list(header.get("awaiting", ()))
    left = [entry for entry in listed if entry["nodeKey"] != node_key]
    if is_terminal(header) or (len(left) == len(listed) and header.get("status") != "awaiting"):
        return None
    document = _changed(header, now)
    if header.get("status") == "awaiting":
        document["status"] = "running"
    document["awaiting"] = left
    if not left:
        del document["awaiting"]
    _set_next_check(document)
    return cast("HeaderDocument", document)


def settled(
    header: HeaderDocument,
    awaiting: Sequence[AwaitingDocument],
    progress: tuple[int, int],
    now: datetime,
    *,
    quiet: bool,
) -> HeaderDocument | None:
    """The header as all facts say it is; None if it says so already.

    ``quiet`` means that nothing can move but what waits.
    """
    if is_terminal(header):
        return None
    document = _changed(header, now)
    document["progress"] = {"done": progress[0], "total": progress[1]}
    document["awaiting"] = list(awaiting)[:MAX_LISTED]
    if not awaiting:
        del document["awaiting"]
    if header.get("status") != "paused":
        document["status"] = "awaiting" if quiet and awaiting else "running"
    _set_next_check(document)
    same = {key: value for key, value in document.items() if key != "lastUpdated"} == {
        key: value for key, value in header.items() if key != "lastUpdated"
    }
    return None if same else cast("HeaderDocument", document)


def grown(header: HeaderDocument, by: int) -> HeaderDocument | None:
    """The header of a run that has so many more node keys; None if it has ended."""
    before = header.get("progress")
    if is_terminal(header) or before is None:
        return None
    document = dict(cast("Mapping[str, Any]", header))
    document["progress"] = {"done": before["done"], "total": before["total"] + by}
    return cast("HeaderDocument", document)


def blocked(header: HeaderDocument, reason: str, message: str, now: datetime) -> HeaderDocument | None:
    """The header that says why no worker takes the run; None if it says so already."""
    if is_terminal(header) or header.get("message") == message:
        return None
    document = _changed(header, now)
    document["reason"], document["message"] = reason, message
    return cast("HeaderDocument", document)


def unblocked(header: HeaderDocument, now: datetime) -> HeaderDocument | None:
    """The header of a run that a worker takes after all; None if nothing says that none does."""
    if is_terminal(header) or "reason" not in header:
        return None
    document = _changed(header, now)
    _unblock(document)
    return cast("HeaderDocument", document)


def touched(header: HeaderDocument, now: datetime) -> HeaderDocument | None:
    """The header with only its ``lastUpdated`` moved."""
    return None if is_terminal(header) else cast("HeaderDocument", _changed(header, now))


def _unblock(document: dict[str, Any]) -> None:
    document.pop("reason", None)
    document.pop("message", None)


def _changed(header: HeaderDocument, now: datetime) -> dict[str, Any]:
    document = dict(cast("Mapping[str, Any]", header))
    document["lastUpdated"] = iso(now)
    return document


def _set_next_check(document: dict[str, Any]) -> None:
    times = [entry["until"] for entry in document.get("awaiting", ()) if entry.get("until")]
    if document.get("deadlineAt"):
        times.append(document["deadlineAt"])
    if times:
        document["nextCheck"] = min(times)
    else:
        document.pop("nextCheck", None)


def repaired(header: HeaderDocument, done: int, now: datetime) -> HeaderDocument:
    """The header of a run that reconciliation has just signalled; counts up while there is no progress."""
    document = _changed(header, now)
    before = header.get("repairs")
    count = before["count"] + 1 if before and before["done"] == done else 1
    document["repairs"] = {"count": count, "at": iso(now), "done": done}
    return cast("HeaderDocument", document)


def may_signal(header: HeaderDocument, now: datetime, threshold_s: float, oldest_visible_s: float) -> bool:
    """Whether reconciliation may signal the run again: a backlog must not make a storm."""
    before = header.get("repairs")
    if not before:
        return True
    at = parse_time(before["at"])
    wait_s = max(threshold_s, 2 * oldest_visible_s) * 2 ** min(before["count"] - 1, 10)
    return at is None or (now - at).total_seconds() >= wait_s

"""Runs and their child runs: how an end is told upwards, and how it is carried downwards.

A subflow is a run of its own. Its header names its parent, and the parent's record of the node that waits
names it; everything here follows from these two facts, and may be done again at any time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Final, cast

from flowcraft.distributed.message import Message
from flowcraft.distributed.queue_ports import Ports, hint
from flowcraft.distributed.runs import header as headers
from flowcraft.engine.subflows import child_of, children_of
from flowcraft.ports import HeaderQuery, Stored
from flowcraft.ports.errors import PreconditionFailedError
from flowcraft_api.wire import HeaderDocument

PARENT_ENDED: Final = "ParentEnded"
"""Why a run was cancelled whose parent has ended: nobody waits for it."""


def depth(header: HeaderDocument) -> int:
    """How many runs are above a run."""
    return header.get("parent", {}).get("depth", 0)


def is_child(header: HeaderDocument, run_id: str) -> bool:
    """Whether this is a child run of that run."""
    return header.get("parent", {}).get("runId") == run_id


async def conclude(ports: Ports, header: HeaderDocument) -> None:
    """Do what follows outside of a run from its end: its children end with it, its parent goes on.

    Whoever ends a run does this before it forgets the message that made it do so, and so does everybody who
    finds it ended under a message: a crash in between costs time only.
    """
    if not headers.is_terminal(header):
        return
    if header.get("subflows") and header.get("status") != "completed":
        await end_children(ports, header["runId"])
    if "parent" in header and header.get("reason") != PARENT_ENDED:
        await _tell_parent(ports, header)


async def _tell_parent(ports: Ports, header: HeaderDocument) -> None:
    """Signal the node key that waits for this run, unless it goes on already."""
    parent = header["parent"]
    run_id, key = parent["runId"], parent["nodeKey"]
    loaded = await ports.facts.load(run_id, nodes=[key])
    found = loaded.records.get(key)
    if found is not None and found.record.resolved:
        return  # anything else may be an older state of it
    await ports.queue.send(Message(run_id, node_key=key, session=loaded.session, alarm=True).to_body())
    await hint(ports, f"+{run_id}")


async def orphaned(ports: Ports, header: HeaderDocument) -> bool:
    """Whether a run is the child of one that has ended, or is gone."""
    if "parent" not in header:
        return False
    parent = await ports.facts.read_header(header["parent"]["runId"])
    return parent is None or headers.is_terminal(parent.document)


async def is_over(ports: Ports, run_ids: Sequence[str]) -> list[str]:
    """Those of the runs that have ended, or that there are not."""
    if not run_ids:
        return []
    active: set[str] = set()
    async for page in ports.facts.headers(HeaderQuery(run_ids=run_ids, statuses=headers.ACTIVE)):
        active.update(stored.document["runId"] for stored in page)
    return [run_id for run_id in run_ids if run_id not in active]


async def end_children(ports: Ports, run_id: str) -> None:
    """Cancel the active child runs of a run that has ended, and theirs."""
    ended = [run_id]
    for parent in ended:  # grows
        async for stored in _children(ports, parent):
            await end_orphan(ports, stored)
            if stored.document.get("subflows"):
                ended.append(stored.document["runId"])


async def end_orphan(ports: Ports, stored: Stored) -> None:
    """Cancel a run because its parent has ended; nobody waits for it any more."""
    parent_id = stored.document["parent"]["runId"]
    message = f"run {parent_id}, whose subflow this is, has ended"

    def change(header: HeaderDocument, now: datetime) -> HeaderDocument | None:
        return headers.ended(header, "cancelled", now, reason=PARENT_ENDED, message=message)

    await steer(ports, stored, change)


async def steer_children(
    ports: Ports, header: HeaderDocument, change: Callable[[HeaderDocument, datetime], HeaderDocument | None]
) -> list[str]:
    """Change the headers of the active child runs that a run waits for, and theirs; gives their ids."""
    steered = [header] if header.get("subflows") else []
    for parent in steered:  # grows
        async for stored in _children(ports, parent["runId"], waiting=True):
            if not headers.is_terminal(stored.document):
                await steer(ports, stored, change)
                steered.append(stored.document)
    return [child["runId"] for child in steered[1:]]


async def descendants(ports: Ports, run_id: str) -> list[str]:
    """The child runs of a run, theirs, and so on; parents before their children."""
    family = [run_id]
    for parent in family:  # grows
        async for stored in _children(ports, parent):
            family.append(stored.document["runId"])
    return family[1:]


async def _children(ports: Ports, run_id: str, *, waiting: bool = False) -> AsyncIterator[Stored]:
    """The headers of a run's children, by what its records tell; ``waiting``: those still waited for."""
    async for page in ports.facts.records(run_id):
        for found in page:
            child_id = child_of(found.record)
            if not child_id or (waiting and found.record.resolved):
                continue
            for each in [child_id] if waiting else children_of(run_id, found.record):
                stored = await ports.facts.read_header(each)
                if stored is not None and is_child(stored.document, run_id):
                    yield stored


async def with_mark(ports: Ports, stored: Stored) -> Stored:
    """The header of a run that is about to have child runs: it says so, before there is one."""
    while not stored.document.get("subflows"):
        document: HeaderDocument = {**stored.document, "subflows": True}
        try:
            return await ports.facts.replace_header(stored, document)
        except PreconditionFailedError:
            newest = await ports.facts.read_header(stored.document["runId"])
            if newest is None:
                return stored  # it was purged: no message of it counts any more
            stored = newest
    return stored


async def steer(
    ports: Ports, stored: Stored, change: Callable[[HeaderDocument, datetime], HeaderDocument | None]
) -> None:
    """Change the header of a run as long as it is active; what changed it meanwhile is kept."""
    current: Stored | None = stored
    while current is not None and not headers.is_terminal(current.document):
        document = change(current.document, ports.clock.now())
        if document is None:
            return
        try:
            await ports.facts.replace_header(current, document)
        except PreconditionFailedError:
            current = await ports.facts.read_header(stored.document["runId"])
        else:
            await hint(ports, stored.document["runId"])
            return


def as_child(
    document: HeaderDocument, parent: HeaderDocument, node_key: str, deadline_at: str | None = None
) -> HeaderDocument:
    """The header of a run that is started as a child: on its parent's queue, until the parent's deadline.

    ``deadline_at`` is the deadline of this attempt of the node, if it has one. A child has no retention of
    its own: it goes when its parent goes, so that the parent never finds it gone.
    """
    child: dict[str, Any] = {
        **cast("dict[str, Any]", document),
        "parent": {
            "runId": parent["runId"],
            "nodeKey": node_key,
            "queue": parent.get("queue", ""),
            "depth": depth(parent) + 1,
        },
    }
    for name in ("queue", "pool", "namespace"):
        if name in parent:
            child[name] = parent[name]
    child["name"] = f"{parent.get('name') or parent['runId']}/{node_key}"
    deadlines = [at for at in (parent.get("deadlineAt"), deadline_at) if at]
    if deadlines:
        child["deadlineAt"] = child["nextCheck"] = min(deadlines)
    return cast("HeaderDocument", child)

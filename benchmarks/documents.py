"""Items and messages of the size that the engine writes, made without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from benchmarks.workflows import app

NOW: Final = "2026-01-01T00:00:00.000Z"
"""Any time of the right length: nobody reads it."""
INLINE_BYTES: Final = 32 * 1024
"""A larger snapshot is an item of its own."""
RUN_INPUT: Final = {"order": 1001}

_SNAPSHOTS: Final[Mapping[str, Any]] = {
    name: blueprint.to_dict() for name, blueprint in app.options.blueprints.items()
}
_HASHES: Final[Mapping[str, str]] = {
    name: blueprint.content_hash for name, blueprint in app.options.blueprints.items()
}


def header_item(run_id: str, workflow: str, queue: str) -> dict[str, Any]:
    """The header of a run that was just accepted."""
    return {
        "id": run_id,
        "runId": run_id,
        "type": "header",
        "v": 1,
        "status": "running",
        "blueprintId": workflow,
        "input": RUN_INPUT,
        "createdAt": NOW,
        "lastUpdated": NOW,
        "queue": queue,
    }


def pinned(header: Mapping[str, Any], workflow: str, *, inline: bool) -> dict[str, Any]:
    """The header with the blueprint, or the name of the item that has it."""
    content_hash = _HASHES[workflow]
    snapshot = {"blueprint": _SNAPSHOTS[workflow]} if inline else {"blueprintRef": f"b:{content_hash}"}
    return {
        **{name: value for name, value in header.items() if name[:1] != "_"},
        **snapshot,
        "blueprintHash": content_hash,
        "blueprintVersion": "1",
        "startedAt": NOW,
        "lastUpdated": NOW,
    }


def snapshot_item(run_id: str, workflow: str) -> dict[str, Any]:
    """The item of a large blueprint."""
    snapshot = _SNAPSHOTS[workflow]
    return {"id": f"b:{_HASHES[workflow]}", "runId": run_id, "type": "b", "snapshot": snapshot}


def is_small(workflow: str) -> bool:
    """Whether its snapshot goes into the header."""
    return len(orjson.dumps(_SNAPSHOTS[workflow])) <= INLINE_BYTES


def ended(header: Mapping[str, Any], nodes: int) -> dict[str, Any]:
    """The header of a run that has completed."""
    return {
        **header,
        "status": "completed",
        "finishedAt": NOW,
        "lastUpdated": NOW,
        "output": {"z": None},
        "progress": {"done": nodes, "total": nodes},
    }


def record_item(run_id: str, node: str, token: str) -> dict[str, Any]:
    """The record of a node that completed without output."""
    return {
        "id": f"n:{node}",
        "runId": run_id,
        "type": "n",
        "key": node,
        "node": node,
        "status": "completed",
        "attempt": 1,
        "startedAt": NOW,
        "finishedAt": NOW,
        "worker": "bench-worker",
        "delivery": token,
        "seq": 1,
        "taken": [0],
    }


def body(run_id: str, workflow: str, node: str = "", session: str = "") -> str:
    """The message that starts a run, or acts on one of its nodes."""
    document = {"runId": run_id, "blueprintId": workflow}
    if node:
        document |= {"nodeId": node, "session": session}
    return orjson.dumps(document).decode()

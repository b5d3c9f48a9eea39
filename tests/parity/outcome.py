"""What a run came to, in the same words for every runtime."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.parity.behaviour import Trace

from flowcraft.records import NodeRecord


@dataclass(frozen=True)
class Outcome:
    """A run's end.

    Attributes:
        status: ``completed``, ``failed`` or ``awaiting``.
        calls: Inputs by the node called, in order, one for each attempt.
        outputs: By completed node.
        keys: What the context has in the end: fields of the run's input, and keys that nodes set.
        failed: Nodes that failed for good.
        stood_in: The fallback that was called, by the node it stood in for; empty for the original.
        records: What is known of each node key; empty for the original.
    """

    status: str
    calls: Mapping[str, list[Any]]
    outputs: Mapping[str, Any]
    keys: Mapping[str, Any]
    failed: tuple[str, ...]
    stood_in: Mapping[str, str]
    records: Mapping[str, NodeRecord]


def of_upstream(result: Mapping[str, Any]) -> Outcome:
    """The original's: outputs stand in its context, too, under the node's name."""
    calls: dict[str, list[Any]] = {}
    for node, value in result["calls"]:
        calls.setdefault(node, []).append(value)
    outputs = result["outputs"]
    keys = {key: value for key, value in result["keys"].items() if key not in outputs}
    return Outcome(result["status"], calls, outputs, keys, tuple(result["failed"]), {}, {})


def seen_keys(
    run_input: Mapping[str, Any], context: Mapping[str, Any], deleted: Collection[str]
) -> dict[str, Any]:
    """The run's input with what was written over it, and without what was deleted."""
    return {name: value for name, value in run_input.items() if name not in deleted} | dict(context)


def of_records(
    status: str, records: Mapping[str, NodeRecord], keys: Mapping[str, Any], trace: Trace
) -> Outcome:
    """Ours, of any mode."""
    calls: dict[str, list[Any]] = {}
    stood_in = {}
    for node, key, value in trace.calls:
        calls.setdefault(node, []).append(value)
        if node.partition(".")[0] != key:
            stood_in[key] = node
    completed = {key: record.output for key, record in records.items() if record.status == "completed"}
    failed = tuple(key for key, record in records.items() if record.status == "failed")
    return Outcome(status, calls, completed, keys, failed, stood_in, records)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: ``true`` is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

"""Decisions: where they belong, and recording them once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.subflows import MAX_DEPTH, child_of
from flowcraft.ports import Commit, FactStore, StoredRecord
from flowcraft.ports.errors import PreconditionFailedError
from flowcraft.records import NodeRecord


async def place_inside(facts: FactStore, run_id: str, node_key: str) -> tuple[str, str] | None:
    """The child run that a key with a slash leads into, and the rest of the key; None if into none."""
    places = [place for place, letter in enumerate(node_key) if letter == "/"]
    heads = [node_key[:place] for place in places[:MAX_DEPTH]]
    if not heads:
        return None
    loaded = await facts.load(run_id, nodes=heads)
    for head in heads:
        found = loaded.records.get(head)
        if found is not None and (child_id := child_of(found.record)):
            return child_id, node_key[len(head) + 1 :]
    return None


async def record_decision(
    ports: Ports, run_id: str, waiting: StoredRecord, decision: Mapping[str, Any]
) -> str:
    """Commit a decision; the token of whoever reads after it.

    Raises:
        RefusedError: another decision was made, or the node was changed just now (retryable).
    """
    key, after = waiting.record.key, replace(waiting.record, decision=decision)
    try:
        return await ports.facts.commit(run_id, Commit(replace=(waiting, after)))
    except PreconditionFailedError:
        pass  # somebody else decided, or an earlier call of this one that was not answered
    for delay_s in (0.0, *STALE_DELAYS_S):
        await ports.clock.sleep(delay_s)
        loaded = await ports.facts.load(run_id, nodes=[key])
        found = loaded.records.get(key)
        if found is not None and found.etag != waiting.etag:
            require_same(found.record, decision)
            return loaded.session
    raise RefusedError(f"node {key} was just changed; decide again", retryable=True)


def require_same(record: NodeRecord, decision: Mapping[str, Any]) -> None:
    """Refuse a decision other than the one that was made.

    Raises:
        RefusedError: it is another one.
    """
    if record.decision != decision:
        action = (record.decision or {}).get("action")
        before = f", with action {action!r}" if action else ""
        raise RefusedError(f"node {record.key} was already decided otherwise{before}")

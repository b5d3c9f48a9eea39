"""The end of a run: publishing it once, with its output or its failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.families import conclude
from flowcraft.distributed.runs.looping import look_up
from flowcraft.distributed.runs.progress import counted, grows
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.ports import Stored
from flowcraft.ports.errors import PreconditionFailedError, StaleReadError
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument, NodeErrorDocument

MAX_OUTPUT_BYTES: Final = 256 * 1024
"""Largest run output kept in the header; a larger one is read from the records of the terminal nodes."""


async def publish_completed(
    ports: Ports, stored: Stored, plan: Plan, known: Mapping[str, NodeRecord], session: str = ""
) -> Stored:
    """End a run whose every node key is resolved; gives the header that is stored in the end.

    Raises:
        StaleReadError: the record of a terminal node is not visible yet.
    """
    output = await _collected(ports, stored.document["runId"], plan, known, session)
    fits = len(orjson.dumps(output)) <= MAX_OUTPUT_BYTES
    progress = (len(plan.nodes), len(plan.nodes))
    if grows(plan, stored.document):
        progress = await counted(ports, stored.document, plan, session)
    return await _publish(ports, stored, "completed", output=output if fits else None, progress=progress)


async def run_output(ports: Ports, header: HeaderDocument, plan: Plan) -> Mapping[str, Any]:
    """The output of a completed run, also where it is too large for the header.

    Raises:
        StaleReadError: the record of a terminal node is not visible yet.
    """
    output = header.get("output")
    return output if output is not None else await _collected(ports, header["runId"], plan, {}, "")


async def _collected(
    ports: Ports, run_id: str, plan: Plan, known: Mapping[str, NodeRecord], session: str
) -> dict[str, Any]:
    """Outputs of the completed terminal nodes, by node id."""
    wanted = plan.terminal_nodes
    outside = [node_id for node_id in wanted if not plan.nodes[node_id].scope]
    records = await _resolved(ports, run_id, outside, known, session)
    if len(outside) < len(wanted):  # of those in loops, the last time that they ran
        inside = [node_id for node_id in wanted if plan.nodes[node_id].scope]
        latest, _ = await look_up(ports.facts, run_id, plan, inside, reader=NodeKey(""), session=session)
        records.update(latest)
    return {
        node_id: records[node_id].output
        for node_id in wanted
        if node_id in records and records[node_id].status == "completed"
    }


async def _resolved(
    ports: Ports, run_id: str, wanted: Sequence[str], known: Mapping[str, NodeRecord], session: str
) -> dict[str, NodeRecord]:
    records = dict(known)
    for delay_s in (*STALE_DELAYS_S, None):
        missing = [node_id for node_id in wanted if node_id not in records]
        if not missing:
            break
        loaded = await ports.facts.load(run_id, nodes=missing, session=session)
        found = {key: one.record for key, one in loaded.records.items() if one.record.resolved}
        records.update(found)
        if len(found) < len(missing):
            if delay_s is None:
                raise StaleReadError(f"terminal nodes of run {run_id} have records that are not visible yet")
            await ports.clock.sleep(delay_s)
    return records


async def publish_failed(
    ports: Ports,
    stored: Stored,
    *,
    reason: str,
    message: str,
    errors: Sequence[NodeErrorDocument] = (),
    progress: tuple[int, int] | None = None,
) -> Stored:
    """End a run as failed; gives the header that is stored in the end."""
    return await _publish(
        ports, stored, "failed", reason=reason, message=message, errors=errors, progress=progress
    )


async def _publish(ports: Ports, stored: Stored, status: str, **facts: Any) -> Stored:
    """Write the end, and do what follows from it; gives the end that is there if somebody was faster."""
    while True:
        document = headers.ended(stored.document, status, ports.clock.now(), **facts)
        if document is None:  # by somebody else, or by this call of an earlier delivery that was cut short
            await conclude(ports, stored.document)
            return stored
        try:
            stored = await ports.facts.replace_header(stored, document)
        except PreconditionFailedError:
            newest = await ports.facts.read_header(stored.document["runId"])
            if newest is None:
                return stored
            stored = newest
        else:
            await conclude(ports, document)
            return stored

"""Taking over the results of the run that a run continues: records and context are copied, then it may start.

Any worker, or the reconciler, does it, and goes on where another one died: what is there already stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson

from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.runs import header as headers
from flowcraft.distributed.runs.amendments import carried, names_of, patch_of, unshadowed, writes_of
from flowcraft.distributed.runs.continuation import (
    Continuation,
    adoptable,
    chunks,
    closed_marks,
    continuing,
    copied,
    exits_before,
    is_copying,
    owners,
)
from flowcraft.distributed.runs.ending import publish_failed
from flowcraft.distributed.runs.looping import mark_writes, write_marks
from flowcraft.distributed.runs.pinning import INLINE_BYTES, Plans
from flowcraft.distributed.runs.verbs import RefusedError
from flowcraft.distributed.staleness import STALE_DELAYS_S
from flowcraft.engine.children import own_name
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.plan import Plan
from flowcraft.linting.finding import Words
from flowcraft.ports import Commit, ContextWrite, Discharge, FactStore, Loaded, Stored
from flowcraft.ports.errors import (
    BackendUnavailableError,
    ConflictError,
    PayloadTooLargeError,
    PreconditionFailedError,
    StaleReadError,
)
from flowcraft.records import NodeRecord
from flowcraft_api.wire import HeaderDocument, PatchDocument

LOADED_AT_ONCE: Final = 50


async def continued(
    facts: FactStore,
    source: HeaderDocument,
    records: Mapping[str, NodeRecord],
    how: Continuation,
    now: datetime,
) -> HeaderDocument:
    """The header of a run that goes on from an ended one, with the list of what it adopts; it is not created.

    Args:
        facts: Where what is too large for the header is written.
        source: The run to go on from.
        records: All records of it.
        how: How; the keys are worked out here.
        now: The time.
    """
    keys: tuple[str, ...] = ()
    earlier = patch_of(source)
    if headers.is_pinned(source):
        plan = await Plans().of(facts, source)
        marks: dict[str, Any] = {}
        for names in chunks(exits_before(plan, records), LOADED_AT_ONCE):
            marks.update((await facts.load(source["runId"], context=names)).context)
        records = unshadowed(records, earlier, await _keys(facts, source) if earlier else (), how.patch)
        keys = adoptable(plan, records, how.nodes, marks)
    how = replace(how, patch=carried(earlier, how.patch, records, keys))
    if len(orjson.dumps(keys)) > INLINE_BYTES:
        text = hashlib.sha256(orjson.dumps(keys)).hexdigest()
        how = replace(how, keys_ref=await facts.write_snapshot(how.run_id, text, {"keys": list(keys)}))
    document = continuing(source, replace(how, keys=keys), now)
    reference = source.get("blueprintRef")
    if reference:
        snapshot = await facts.read_snapshot(source["runId"], reference)
        content_hash = source.get("blueprintHash") or ""
        document["blueprintRef"] = await facts.write_snapshot(how.run_id, content_hash, snapshot)
    return document


async def first_nodes(
    facts: FactStore, source: HeaderDocument, records: Mapping[str, NodeRecord]
) -> tuple[str, ...]:
    """The nodes that a run began with, of those that came to anything."""
    if not headers.is_pinned(source):
        return ()
    plan = await Plans().of(facts, source)
    ran = {record.node for record in records.values()}
    return tuple(node for node in plan.start if node in ran)


async def require_known(
    facts: FactStore, source: HeaderDocument, records: Mapping[str, NodeRecord], nodes: Sequence[str]
) -> None:
    """Refuse nodes that the run's blueprint does not have; children and nodes of subflows are not looked at.

    Raises:
        RefusedError: it names the node, and the one that may be meant.
    """
    seen = {name for record in records.values() for name in (record.key, record.node)}
    asked = [node for node in nodes if node not in seen and "/" not in node]
    if not asked or not headers.is_pinned(source):
        return
    blueprint = (await Plans().of(facts, source)).blueprint
    for node in asked:
        key = NodeKey.parse(node)
        if key.child is None and key.node not in blueprint.node_ids:
            hint = Words(blueprint.node_ids).hint(key.node)
            raise RefusedError(f"blueprint {blueprint.id} has no node {key.node!r}{hint}")


async def take_over(ports: Ports, stored: Stored) -> Stored:
    """Copy what the run adopts, and say so in its header; gives the header as it is stored then.

    A run whose source is gone fails.

    Raises:
        StaleReadError: something that must exist is not visible yet.
    """
    source_id = stored.document["continues"]["runId"]
    keys = await _keys(ports.facts, stored.document)
    known: dict[str, NodeRecord] = {}
    async for page in ports.facts.records(source_id):
        known.update((found.record.key, found.record) for found in page)
    if not known.keys() >= set(keys):
        return await _gone(ports, stored)
    if not headers.is_pinned(stored.document):
        return await _done(ports, stored, len(keys))
    plan = await Plans().of(ports.facts, stored.document)
    patch = patch_of(stored.document)
    owned = owners(known[key] for key in keys)
    for name in names_of(patch):
        owned.pop(name, None)
    for part in chunks(keys, LOADED_AT_ONCE):
        await _copy(ports, stored, plan, part, [name for name, key in owned.items() if key in part])
    marks = closed_marks(plan, known, set(keys))
    for names in chunks(marks, LOADED_AT_ONCE):
        loaded = await ports.facts.load(source_id, context=names)
        await write_marks(ports.facts, stored.document["runId"], loaded.context, "")
    await _patch(ports.facts, stored.document["runId"], patch)
    return await _done(ports, stored, len(keys))


async def _patch(facts: FactStore, run_id: str, patch: PatchDocument) -> None:
    """Write the patched context keys."""
    if writes := writes_of(patch):
        await facts.commit(run_id, Commit(context=writes, base=True))


async def all_records(ports: Ports, stored: Stored) -> dict[str, NodeRecord]:
    """Every record of a run, without outputs; what it took over is among them.

    Raises:
        StaleReadError: that is not visible yet; what is ready cannot be told without it.
    """
    run_id = stored.document["runId"]
    adopted = await _keys(ports.facts, stored.document) if "continues" in stored.document else ()
    for delay_s in (*STALE_DELAYS_S, None):
        records = {
            found.record.key: found.record async for page in ports.facts.records(run_id) for found in page
        }
        if records.keys() >= set(adopted):
            return records
        if delay_s is not None:
            await ports.clock.sleep(delay_s)
    raise StaleReadError(f"what run {run_id} took over is not visible yet")


async def _keys(facts: FactStore, header: HeaderDocument) -> Sequence[str]:
    reference = header["continues"].get("keysRef")
    if not reference:
        return header.get("adoptedKeys", [])
    found: Sequence[str] = (await facts.read_snapshot(header["runId"], reference))["keys"]
    return found


async def _copy(ports: Ports, stored: Stored, plan: Plan, keys: Sequence[str], names: Sequence[str]) -> None:
    """Copy these records, each in one transaction with the context keys whose values are its own."""
    run_id = stored.document["runId"]
    loaded = await _load(ports, stored.document["continues"]["runId"], keys, names)
    plain: list[NodeRecord] = []
    for key in keys:
        record = loaded.records[key].record
        values = {**loaded.context, own_name(key): record.output}
        own = [_write(name, values) for name in record.wrote if name in names]
        own += mark_writes(plan, [record])
        if own:
            await _create(ports, run_id, Commit(create=[record], context=own, seq=record.seq))
        else:
            plain.append(record)
    await _create_all(ports, run_id, plain)


async def _load(ports: Ports, source_id: str, keys: Sequence[str], names: Sequence[str]) -> Loaded:
    for delay_s in (*STALE_DELAYS_S, None):
        loaded = await ports.facts.load(source_id, nodes=keys, context=names)
        if all(key in loaded.records for key in keys):
            return loaded
        if delay_s is not None:
            await ports.clock.sleep(delay_s)
    raise StaleReadError(f"records of run {source_id} that are to be taken over are not visible yet")


def _write(name: str, values: Mapping[str, object]) -> ContextWrite:
    return ContextWrite(name, values[name]) if name in values else ContextWrite(name, deleted=True)


async def _create_all(ports: Ports, run_id: str, records: Sequence[NodeRecord]) -> None:
    if not records:
        return
    try:
        await ports.facts.commit(run_id, Commit(create=records))
    except (ConflictError, PayloadTooLargeError):  # some are there already, or they are too large together
        for record in records:
            await _create(ports, run_id, Commit(create=[record]))


async def _create(ports: Ports, run_id: str, commit: Commit) -> None:
    try:
        await ports.facts.commit(run_id, commit)
    except ConflictError:
        return  # whoever copied before came as far


async def _done(ports: Ports, stored: Stored, count: int) -> Stored:
    run_id = stored.document["runId"]
    while not headers.is_terminal(stored.document) and is_copying(stored.document):
        document = copied(stored.document, ports.clock.now())
        try:
            stored = await ports.facts.replace_header(stored, document)
        except PreconditionFailedError:
            newest = await ports.facts.read_header(run_id)
            if newest is None:
                return stored
            stored = newest
        else:
            await _count(ports, run_id, count)
    return stored


async def _count(ports: Ports, run_id: str, count: int) -> None:
    """People see progress from here on."""
    try:
        await ports.coordination.discharge(Discharge(run_id, token="", progress=count))
    except BackendUnavailableError:
        return  # the count at the end is exact


async def _gone(ports: Ports, stored: Stored) -> Stored:
    """Not every key can be seen: the source was purged, or this reads an older state of it."""
    source_id = stored.document["continues"]["runId"]
    source = await ports.facts.read_header(source_id)
    if source is not None and not headers.expired(source.document, ports.clock.now()):
        raise StaleReadError(f"records of run {source_id} that are to be taken over are not visible yet")
    message = f"run {source_id}, whose results it was to go on from, was deleted: start it anew"
    return await publish_failed(ports, stored, reason="SourceDeleted", message=message)

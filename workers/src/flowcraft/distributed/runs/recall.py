"""A run of a backend as a result in memory: to look at it, and to run part of it again under a debugger.

Nothing of the run is changed by it, and what is done with the result stays in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from flowcraft.distributed.queue_ports import Ports
from flowcraft.distributed.runs.amendments import names_of, patch_of
from flowcraft.distributed.runs.ending import run_output
from flowcraft.distributed.runs.pinning import Plans
from flowcraft.memory.result import RunResult, RunStatus
from flowcraft.memory.revision import PATCH
from flowcraft.node import MISSING
from flowcraft.records import NodeRecord
from flowcraft.serializer import JSON
from flowcraft_api.wire import HeaderDocument

READ_AT_ONCE: Final = 100
_OVER: Final = frozenset({"completed", "failed", "cancelled"})


async def recall(ports: Ports, run_id: str) -> RunResult:
    """Read a run whole: its pinned blueprint, its records with their outputs, its context.

    A run that goes on is read as it was at some moment, and shown as paused or awaiting. Of context keys that
    several nodes wrote, only the last value is known, as that of the last writer. Child runs are runs of
    their own: recall them by their ids.

    Args:
        ports: A client, or the ports of a queue of the same backend.
        run_id: The run.

    Raises:
        LookupError: there is no such run, or no worker has pinned its blueprint yet.
        StaleReadError: its end is not visible yet.
    """
    stored = await ports.facts.read_header(run_id)
    if stored is None or not stored.document.get("blueprintHash"):
        raise LookupError(f"there is no run {run_id}" if stored is None else f"run {run_id} has not begun")
    header = stored.document
    plan = await Plans().of(ports.facts, header)
    keys = [found.record.key async for page in ports.facts.records(run_id) for found in page]
    records: dict[str, NodeRecord] = {}
    for part in _parts(keys):
        loaded = await ports.facts.load(run_id, nodes=part)
        records.update((key, found.record) for key, found in loaded.records.items())
    context, deleted, given = await _context(ports, header, records.values())
    status = _status(header, records.values())
    output = await run_output(ports, header, plan) if status == "completed" else None
    return RunResult(
        run_id,
        plan.blueprint,
        _input(header, given),
        status,
        output,
        tuple(header.get("errors") or ()),
        records,
        context,
        _patched(header) | _writes(records.values(), {**context, **dict.fromkeys(deleted, MISSING)}),
    )


def _input(header: HeaderDocument, given: Mapping[str, Any] | None) -> Any:
    value = header.get("input", given if given is not None else {})
    return JSON.encode(value) if header.get("plainInput") else value


def _patched(header: HeaderDocument) -> dict[str, dict[str, Any]]:
    """What was patched before the run began; beneath all that its nodes wrote."""
    patch = patch_of(header)
    return (
        {PATCH: {**patch.get("set", {}), **dict.fromkeys(patch.get("unset", ()), MISSING)}} if patch else {}
    )


def _status(header: HeaderDocument, records: Iterable[NodeRecord]) -> RunStatus:
    status = header.get("status", "")
    if status in _OVER:
        return cast("RunStatus", status)
    waits = any(not record.resolved for record in records)
    return "awaiting" if status == "awaiting" and waits else "paused"


async def _context(
    ports: Ports, header: HeaderDocument, records: Iterable[NodeRecord]
) -> tuple[dict[str, Any], frozenset[str], Any]:
    """The context keys that the records tell of, those deleted, and an input kept outside of the header."""
    run_id = header["runId"]
    wrote = [name for record in records for name in record.wrote]
    names = list(dict.fromkeys([*wrote, *names_of(patch_of(header))]))
    loaded = await ports.facts.load(run_id, context=names[:READ_AT_ONCE], with_input=True)
    context, deleted = dict(loaded.context), loaded.deleted
    for part in _parts(names[READ_AT_ONCE:]):
        more = await ports.facts.load(run_id, context=part)
        context.update(more.context)
        deleted |= more.deleted
    return context, deleted, loaded.input


def _writes(records: Iterable[NodeRecord], context: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each key's value under the node key that wrote it last."""
    writer: dict[str, NodeRecord] = {}
    for record in records:
        for name in record.wrote:
            known = writer.get(name)
            if known is None or (known.seq, known.finished_at) < (record.seq, record.finished_at):
                writer[name] = record
    writes: dict[str, dict[str, Any]] = {}
    for name, record in writer.items():
        if name in context:
            writes.setdefault(record.key, {})[name] = context[name]
    return writes


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + READ_AT_ONCE] for start in range(0, len(names), READ_AT_ONCE)]

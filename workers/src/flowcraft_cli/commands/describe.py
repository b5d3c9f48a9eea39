"""`flowcraft describe`: everything about one run, node by node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK

if TYPE_CHECKING:
    from flowcraft.records import NodeRecord
    from flowcraft_api.wire import ContinuesDocument
    from flowcraft_cli.views import RunView

EXAMPLES = ("flowcraft describe order-1001", "flowcraft describe order-1004 -o json")
MAX_SHOWN = 2000
"""Characters of an input or output that are shown as text; `-o json` shows all."""


def describe(
    run: options.Run,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Show one run: its state and why, its times, its input and output, and what became of each node."""
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_describe(settings, run, output))


async def _describe(settings: Settings, run: str, output: options.OutputFormat) -> int:
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.commands.get import with_input
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.views import RunView, print_data, put

    async with open_backend(settings) as backend:
        client = backend.client
        view = RunView.of(await with_input(client, await find_run(client, run)), backend.clock.now())
        records = await client.records(view.run_id)
    ordered = sorted(records.values(), key=_when)
    if output in (options.OutputFormat.TABLE, options.OutputFormat.WIDE):
        put("\n".join(_lines(view, ordered)))
    else:
        print_data({**view.document(), "nodes": [record.to_document() for record in ordered]}, output)
    return OK


def _when(record: NodeRecord) -> tuple[str, bool, int]:
    """The order of what happened; what was skipped stands behind what caused it."""
    return record.finished_at or record.started_at, record.status == "skipped", record.seq


def _lines(view: RunView, records: list[NodeRecord]) -> Iterator[str]:
    for name, value in _facts(view).items():
        if value:
            yield f"{name + ':':<12}{value}"
    for name in ("input", "output"):
        yield from _value(
            name.capitalize(), view.document()["status" if name == "output" else "spec"].get(name)
        )
    yield "Conditions:"
    yield from _table(
        ["TYPE", "STATUS", "REASON", "MESSAGE"],
        [[c.type, c.status, c.reason, c.message] for c in view.status.conditions],
    )
    yield "Nodes:" if records else "Nodes:      none yet"
    if records:
        yield from _table(["NODE", "STATUS", "ACTION", "ATTEMPT", "TOOK", "NOTE"], map(_node, records))


def _facts(view: RunView) -> Mapping[str, str]:
    status = view.status
    pinned = status.blueprint
    version = f" version {pinned.version}" if pinned and pinned.version else ""
    return {
        "Name": view.name,
        "Run ID": view.run_id,
        "Pool": view.header.get("pool") or "",
        "Queue": view.header.get("queue") or "",
        "Blueprint": f"{pinned.name}{version}" if pinned else "",
        "Status": f"{view.phase.value} ({view.reason})"
        if view.reason != view.phase.value
        else view.phase.value,
        "Message": view.message,
        "Progress": status.progress or "",
        "Created": view.header.get("createdAt") or "",
        "Started": view.header.get("startedAt") or "",
        "Finished": view.header.get("finishedAt") or "",
        "Duration": status.duration or "",
        "Deadline": view.header.get("deadlineAt") or "",
        "Continues": _continues(view.header.get("continues")),
    }


def _continues(document: ContinuesDocument | None) -> str:
    if not document:
        return ""
    nodes = document.get("nodes")
    how = f"again from {', '.join(nodes)}" if nodes else "retried"
    return f"run {document['runId']}, {how}; {document['count']} node keys taken over"


def _value(name: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}... ({len(text)} characters; -o json shows all)"
    yield f"{name + ':':<12}{text}"


def _table(columns: list[str], rows: Any) -> Iterator[str]:
    from flowcraft_cli.tables import format_table

    for line in format_table(columns, rows).splitlines():
        yield f"  {line.rstrip()}"


def _node(record: NodeRecord) -> list[str]:
    from flowcraft_api.durations import elapsed
    from flowcraft_api.timestamps import parse_instant

    started, finished = parse_instant(record.started_at or None), parse_instant(record.finished_at or None)
    took = elapsed((finished - started).total_seconds()) if started and finished else ""
    return [record.key, record.status, record.action or "", str(record.attempt or ""), took, _note(record)]


def _note(record: NodeRecord) -> str:
    if record.error:
        return f"{record.error.get('type', 'error')}: {record.error.get('message', '')}"
    if record.status != "awaiting":
        return ""
    if record.decision is not None:
        return "decided, about to go on"
    return f"until {record.wake_at}" if record.wake_at else "waits for a decision: flowcraft decide"

"""`flowcraft describe`: everything about one run, node by node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, UsageError

if TYPE_CHECKING:
    from flowcraft.distributed.client import Client
    from flowcraft_api.wire import ContinuesDocument, HeaderDocument
    from flowcraft_cli.run_nodes import NodeView
    from flowcraft_cli.views import RunView

EXAMPLES = (
    "flowcraft describe order-1001",
    "flowcraft describe order-1001 --node charge",
    "flowcraft describe order-1004 -o json",
)


def describe(  # noqa: PLR0917  each is an option
    run: options.Run,
    node: Annotated[
        list[str] | None,
        typer.Option(
            "--node",
            metavar="NODE_KEY",
            help="Show this node in full: input, output, edges taken, error. Repeatable.",
            show_default=False,
        ),
    ] = None,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Show one run: its state and why, its times, its input and output, and what became of each node.

    The timeline shows when each node worked (`=`), waited (`~`) or failed (`x`). A node that had not
    ended when its run was cancelled is `cancelled`; when it failed, `unfinished`. Many children of a batch,
    or rounds of a loop, are one row; `-o wide` shows each. With `-o json` or `-o yaml`, each node comes with
    its input and output.
    """
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_describe(settings, run, node or [], output))


async def _describe(settings: Settings, run: str, wanted: list[str], output: options.OutputFormat) -> int:
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.commands.get import with_input
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.run_nodes import NodeInputs, folded, read_nodes, with_outputs
    from flowcraft_cli.views import RunView, print_data, put

    tabular = output in (options.OutputFormat.TABLE, options.OutputFormat.WIDE)
    async with open_backend(settings) as backend:
        header = await with_input(backend.client, await find_run(backend.client, run))
        other_input = await _has_other_input(backend.client, header)
        view = RunView.of(header, backend.clock.now())
        found = await read_nodes(backend, header)
        nodes: list[NodeView] = list(found.nodes)
        _require(wanted, nodes, view.name)
        given: Mapping[str, Any] = {}
        if not tabular or wanted:
            nodes = await with_outputs(backend, header["id"], nodes)
            if found.blueprint is not None:
                asked = [each for each in nodes if not wanted or each.key in wanted]
                given = await NodeInputs(backend, header, found.blueprint).of(asked, nodes)
    if wanted:
        nodes = [each for each in nodes if each.key in wanted]
    if not tabular:
        print_data({**view.document(), "nodes": [_document(each, given) for each in nodes]}, output)
    elif wanted:
        from flowcraft_cli.node_rows import in_full

        put("\n\n".join("\n".join(in_full(each, given.get(each.key), found.blueprint)) for each in nodes))
    else:
        shown_nodes = nodes if output is options.OutputFormat.WIDE else folded(nodes)
        put("\n".join(_lines(view, shown_nodes, other_input=other_input)))
    return OK


def _require(wanted: list[str], nodes: list[NodeView], name: str) -> None:
    known = {view.key for view in nodes}
    for key in wanted:
        if key not in known:
            told = f"; it has {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""
            raise UsageError(f"run {name} has no node key {key} yet{told}")


def _document(view: NodeView, given: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"key": view.key, "node": view.node, "status": view.status}
    if view.progress is not None:
        document["progress"] = {"done": view.progress[0], "total": view.progress[1]}
    if view.record is not None:
        document = {**view.record.to_document(), **document}
    return {**document, "input": given[view.key]} if view.key in given else document


async def _has_other_input(client: Client, header: HeaderDocument) -> bool:
    """Whether a run that goes on from another one was given another input, as far as that can be seen."""
    from flowcraft.distributed.client import RunNotFoundError
    from flowcraft_cli.commands.get import with_input

    continues = header.get("continues")
    if not continues or not continues.get("asked"):
        return False
    try:
        source = await with_input(client, await client.header(continues["runId"]))
    except RunNotFoundError:
        return "patch" not in continues
    return source.get("input") != header.get("input")


def _lines(view: RunView, nodes: list[NodeView], *, other_input: bool) -> Iterator[str]:
    from flowcraft_cli.node_rows import COLUMNS, rows, shown

    facts = {**_facts(view), "Continues": continues(view.header.get("continues"), other_input=other_input)}
    for name, value in facts.items():
        if value:
            yield f"{name + ':':<12}{value}"
    document = view.document()
    for name, value in (
        ("Input", document["spec"].get("input")),
        ("Output", document["status"].get("output")),
    ):
        if value is not None:
            yield f"{name + ':':<12}{shown(value)}"
    yield "Conditions:"
    yield from _table(
        ["TYPE", "STATUS", "REASON", "MESSAGE"],
        [[c.type, c.status, c.reason, c.message] for c in view.status.conditions],
    )
    yield "Nodes:" if nodes else "Nodes:      none yet"
    if nodes:
        yield from _table(list(COLUMNS), rows(nodes, view.until))


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
    }


def continues(document: ContinuesDocument | None, *, other_input: bool = False) -> str:
    """What a run goes on from, and what it has otherwise, in one line; empty if it goes on from none."""
    if not document:
        return ""
    nodes = document.get("nodes")
    how = f"again from {', '.join(nodes)}" if nodes else "retried"
    patch = document.get("patch", {})
    changed = [*patch.get("set", ()), *patch.get("unset", ())]
    otherwise = [
        *(["another input"] if other_input else ()),
        *([f"context changed: {', '.join(changed)}"] if changed else ()),
    ]
    if otherwise:
        how += f", with {' and '.join(otherwise)}"
    return f"run {document['runId']}, {how}; {document['count']} node keys taken over"


def _table(columns: list[str], rows: Any) -> Iterator[str]:
    from flowcraft_cli.tables import format_table

    for line in format_table(columns, rows).splitlines():
        yield f"  {line.rstrip()}"

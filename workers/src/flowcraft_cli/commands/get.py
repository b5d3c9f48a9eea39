"""`flowcraft get`: the table of runs, or one run as data."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, note

if TYPE_CHECKING:
    from flowcraft.distributed.client import Client
    from flowcraft_api.wire import HeaderDocument
    from flowcraft_cli.backend import Backend

EXAMPLES = (
    "flowcraft get",
    "flowcraft get order-1001 -o yaml",
    "flowcraft get --active -o wide",
)


def get(  # noqa: PLR0917  each is an option
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Runs by id or name; all of the queue by default.", show_default=False
        ),
    ] = None,
    active: Annotated[bool, typer.Option("--active", help="Only runs that have not ended.")] = False,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Show runs: the table of `kubectl get workflowruns`, or WorkflowRuns as JSON or YAML."""
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_get(settings, run or [], output, active=active))


async def _get(settings: Settings, wanted: list[str], output: options.OutputFormat, *, active: bool) -> int:
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.finding import find_run, list_runs
    from flowcraft_cli.views import RunView, print_runs

    async with open_backend(settings) as backend:
        client = backend.client
        if wanted:
            headers = [await with_input(client, await find_run(client, each)) for each in wanted]
            said = [line for header in headers for line in await _progress(backend, header)]
        else:
            said = []
            headers = await list_runs(client, active=active)
        headers = await with_counts(client, headers)
        now = backend.clock.now()
    tabular = output in (options.OutputFormat.TABLE, options.OutputFormat.WIDE)
    if not headers and tabular:
        note(f"No runs in queue {settings.queue}.")
        return OK
    print_runs([RunView.of(header, now) for header in headers], output, single=bool(wanted))
    for line in said:
        note(line)
    return OK


async def _progress(backend: Backend, header: HeaderDocument) -> list[str]:
    """What the nodes of a run that work now say of their progress."""
    from flowcraft.distributed.reports import reported

    if header.get("status") != "running":
        return []
    found = await reported(backend.coordination, header["id"])
    name = header.get("name") or header["id"]
    return [f"{name}: {key} is at {done:g}/{total:g}" for key, (done, total) in sorted(found.items())]


async def with_counts(client: Client, headers: Sequence[HeaderDocument]) -> list[HeaderDocument]:
    """The headers with what was counted since: none is written for progress alone."""
    from flowcraft.distributed.runs.header import counted
    from flowcraft.ports.errors import BackendUnavailableError

    running = [header["id"] for header in headers if header.get("status") == "running"]
    try:
        counts = await client.coordination.progress(running) if running else {}
    except BackendUnavailableError:
        counts = {}
    return [counted(header, counts.get(header["id"], 0)) for header in headers]


async def with_input(client: Client, header: HeaderDocument) -> HeaderDocument:
    """The header with its input, also where that is so large that it is stored beside it."""
    if "input" in header:
        return header
    loaded = await client.facts.load(header["id"], with_input=True)
    if loaded.input is None:
        return header
    return cast("HeaderDocument", {**cast("dict[str, Any]", header), "input": loaded.input})

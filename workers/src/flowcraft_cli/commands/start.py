"""`flowcraft start`: a run for the workers of a backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from flowcraft_cli import options
from flowcraft_cli.json_arguments import parse_object
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, RUN_FAILED, UsageError, note

if TYPE_CHECKING:
    from flowcraft.distributed.runs.header import RunRequest
    from flowcraft_cli.backend import Backend
    from flowcraft_cli.views import RunView

EXAMPLES = (
    "flowcraft start order --input '{\"amount\": 42}'",
    "flowcraft start order --input @order.json --run-id order-1001 --wait",
    "flowcraft start order --version 1 --backend azure --queue shop-orders",
)


def start(  # noqa: PLR0913, PLR0917  each is an option
    blueprint: Annotated[
        str,
        typer.Argument(
            metavar="BLUEPRINT", help="A blueprint's id, known to the workers.", show_default=False
        ),
    ],
    input_text: Annotated[
        str,
        typer.Option(
            "--input", metavar="JSON", help="The run's input: a JSON object, or @FILE (@- is stdin)."
        ),
    ] = "{}",
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id", metavar="ID", help="The run's id: starting it twice is one run.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="A name for people, as in the table.", show_default=False)
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--version", help="The blueprint's version; by default the starter's.", show_default=False
        ),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline",
            metavar="DURATION",
            help="The run fails after it, for example 1h.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the run has ended.")] = False,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Start a run for the workers of a backend; print its id.

    With `-o json` or `-o yaml`, the run itself is printed. With `--wait`, stderr tells why a run does not go
    on or has failed. The workers run elsewhere: `flowcraft worker`, or a pool on a cluster.
    """
    import uuid

    from flowcraft.distributed.runs.header import RunRequest

    if not blueprint.strip():
        raise UsageError("name the blueprint, for example: flowcraft start order")
    settings = Settings.read(backend=backend, db=db, queue=queue)
    request = RunRequest(
        run_id=run_id or str(uuid.uuid4()),
        blueprint_id=blueprint,
        version=version,
        input=parse_object(input_text, "--input"),
        name=name,
        deadline_s=_seconds(deadline),
    )
    return asyncio.run(_start(settings, request, output, wait=wait))


async def _start(settings: Settings, request: RunRequest, output: options.OutputFormat, *, wait: bool) -> int:
    from flowcraft_cli.backend import open_backend

    async with open_backend(settings, create=True) as backend:
        await backend.client.start(request)
        return await show_started(backend, request.run_id, output, wait=wait)


async def show_started(backend: Backend, run_id: str, output: options.OutputFormat, *, wait: bool) -> int:
    """Print the id of a run that was just started, or the run itself; gives the command's exit code.

    Only who waits is told by the exit code how the run ended: else it would depend on how fast a worker was.
    """
    from flowcraft_cli.commands.watch import follow
    from flowcraft_cli.views import RunView, print_runs, put

    tabular = output in (options.OutputFormat.TABLE, options.OutputFormat.WIDE)
    if tabular:
        put(run_id)
    elif wait:
        note(f"run {run_id}")
    view = RunView.of(await backend.client.header(run_id), backend.clock.now())
    if wait:
        view = await follow(backend, run_id, _Obstacles())
        if view.failed:
            note(f"{view.name}: {view.reason}: {view.message}")
    if not tabular:
        print_runs([view], output, single=True)
    return RUN_FAILED if wait and view.failed else OK


class _Obstacles:
    """Says on stderr why a run does not go on, each time that it is something else."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, view: RunView) -> None:
        blocked = view.header.get("status") == "running" and view.header.get("reason")
        text = f"{blocked}: {view.header.get('message') or view.message}" if blocked else view.advice
        if text and text != self._told:
            note(f"{view.name}: {text}")
        self._told = text


def _seconds(deadline: str | None) -> float | None:
    from flowcraft_api.durations import Duration

    try:
        return Duration(deadline).seconds if deadline else None
    except ValueError as error:
        raise UsageError(f"--deadline: {error}") from None

"""`flowcraft run`: manifests on this machine."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import INTERRUPTED, OK, RUN_FAILED, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowcraft_api.resources import WorkflowRun
    from flowcraft_cli.views import RunView

EXAMPLES = (
    "flowcraft run -f run.yaml --app shop.flows:app",
    "flowcraft run -f runs.yaml --app shop.flows:app -o json",
    "flowcraft run -f run.yaml --app shop.flows:app --run-id order-1001",
    "flowcraft run -f run.yaml --app shop.flows:app --target charge",
)


def run(  # noqa: PLR0917  each is an option
    file: options.Files,
    app: options.App = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id",
            metavar="ID",
            help="Makes the command idempotent: a run of this id is started once. With several manifests, "
            "each run's id is this, a hyphen and its name.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NODE",
            help="Run only this node and what lies before it; may be given several times.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, help="Jobs at a time, by default 16.", show_default=False),
    ] = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Run WorkflowRun manifests on this machine, without any server.

    Takes the manifests that `kubectl apply` takes, runs them with the code of the application, and returns
    when nothing can move any more: every run has ended, waits for a decision, or is suspended. What happened
    is kept in a file, so a run that was interrupted goes on when the same run id is given again. Ctrl-C lets
    running nodes end first.
    """
    from flowcraft_cli.manifests import read_runs

    settings = Settings.read(backend="embedded", app=app, db=db, queue=queue, concurrency=concurrency)
    return asyncio.run(_run(settings, read_runs(file), output, run_id=run_id, targets=target or ()))


async def _run(
    settings: Settings,
    manifests: list[WorkflowRun],
    output: options.OutputFormat,
    *,
    run_id: str | None,
    targets: Sequence[str],
) -> int:
    from flowcraft.distributed.jobs.worker import Worker
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.local_run import LocalRuns, prepare
    from flowcraft_cli.logs import configure_logs
    from flowcraft_cli.progress import Progress
    from flowcraft_cli.views import print_runs
    from flowcraft_cli.workers import load, services_of

    configure_logs(settings, quiet=True)
    app = load(settings)
    prepared = prepare(manifests, app, run_id, targets)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _interrupt, stop)
    async with open_backend(settings, create=True) as backend:
        runs = LocalRuns(backend, prepared, Progress())
        await runs.start()
        async with Worker(services_of(backend, app, settings)) as worker:
            await runs.follow(worker, stop)
        views = await runs.views()
    print_runs(views, output, single=len(prepared) == 1)
    _explain(views, settings.db)
    if stop.is_set():
        return INTERRUPTED
    return RUN_FAILED if any(view.failed for view in views) else OK


def _interrupt(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise KeyboardInterrupt
    note("stopping: running nodes may end; Ctrl-C again ends at once")
    stop.set()


def _explain(views: list[RunView], db: Path) -> None:
    """Say why runs are not complete, below the table: on stderr, so that the table stays what it is."""
    for view in views:
        if view.failed:
            note(f"{view.name}: {view.reason}: {view.message}")
        elif view.advice:
            note(f"{view.name}: {view.advice}")
        elif not view.phase.is_final:
            message = view.message or "has not ended"
            note(f"{view.name}: {message}; it goes on with `flowcraft worker --db {db}`")

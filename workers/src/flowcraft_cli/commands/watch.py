"""`flowcraft watch`: a run as it goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, RUN_FAILED

if TYPE_CHECKING:
    from flowcraft_cli.backend import Backend
    from flowcraft_cli.views import RunView

EXAMPLES = (
    "flowcraft watch order-1001",
    "flowcraft watch order-1001 --nodes",
    "flowcraft watch order-1001 -o json",
)
LOOK_EVERY_S: Final = 2.0
"""How often the run is read when no hint tells of a change."""


def watch(  # noqa: PLR0917  each is an option
    run: options.Run,
    nodes: Annotated[
        bool | None,
        typer.Option(
            "--nodes/--no-nodes", help="Show its nodes; by default on a terminal.", show_default=False
        ),
    ] = None,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Show a run whenever it changes, until it ends.

    On a terminal the row, and below it the nodes with what runs now, are drawn anew; elsewhere each change is
    a line, with `--nodes` those of the nodes, too. Exits with 1 if the run fails.
    """
    settings = Settings.read(backend=backend, db=db, queue=queue)
    wanted = sys.stdout.isatty() if nodes is None else nodes
    return asyncio.run(_watch(settings, run, output, nodes=wanted))


async def _watch(settings: Settings, run: str, output: options.OutputFormat, *, nodes: bool) -> int:
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.live import LiveNodes

    async with open_backend(settings) as backend:
        header = await find_run(backend.client, run)
        tabular = output in (options.OutputFormat.TABLE, options.OutputFormat.WIDE)
        wide = output is options.OutputFormat.WIDE
        if tabular and nodes:
            view = await LiveNodes(backend, wide=wide).follow(header["id"])
        else:
            view = await follow(backend, header["id"], _Rows(wide=wide) if tabular else _documents(output))
        return RUN_FAILED if view.failed else OK


async def follow(backend: Backend, run_id: str, show: Callable[[RunView], None] | None = None) -> RunView:
    """Follow a run to its end, showing each state that differs from the one before.

    Raises:
        PortError: the backend refuses or is away.
    """
    from flowcraft_cli.changes import Changes
    from flowcraft_cli.views import RunView

    before: RunView | None = None
    async with Changes(backend) as changes:
        while True:
            view = RunView.of(await backend.client.header(run_id), backend.clock.now())
            if show and (before is None or _differs(before, view)):
                show(view)
                before = view
            if view.phase.is_final:
                return view
            await changes.wait(LOOK_EVERY_S)


def _differs(before: RunView, now: RunView) -> bool:
    """Whether more than the duration changed."""
    unshown = {"duration": None}
    return before.status.model_copy(update=unshown) != now.status.model_copy(update=unshown)


class _Rows:
    """Prints the run's row below the heading; on a terminal over the row before."""

    def __init__(self, *, wide: bool) -> None:
        self._wide = wide
        self._drawn = 0

    def __call__(self, view: RunView) -> None:
        from flowcraft_api.table import RUN_COLUMNS
        from flowcraft_cli.tables import format_table
        from flowcraft_cli.views import WIDE_COLUMNS, put

        columns = [*RUN_COLUMNS, *(WIDE_COLUMNS if self._wide else ())]
        lines = format_table(columns, [view.cells(wide=self._wide)]).splitlines()
        if sys.stdout.isatty() and self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
        elif self._drawn:
            lines = lines[1:]
        self._drawn = len(lines)
        put("\n".join(lines))


def _documents(output: options.OutputFormat) -> Callable[[RunView], None]:
    from flowcraft_cli.views import print_runs, put

    def show(view: RunView) -> None:
        if output is options.OutputFormat.YAML:
            put("---")
        print_runs([view], output, single=True)

    return show

"""`flowcraft diagram`: a picture of a blueprint, or of a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, UsageError

if TYPE_CHECKING:
    from flowcraft.blueprint import Blueprint
    from flowcraft_cli.run_nodes import NodeView

EXAMPLES = (
    "flowcraft diagram order.yaml",
    "flowcraft diagram order --app shop.flows:app",
    "flowcraft diagram order-1001",
    "flowcraft diagram order.yaml --graph",
)
_LOUDEST = ("failed", "running", "awaiting", "queued", "cancelled", "unfinished", "completed", "skipped")
"""Of several rounds or children of a node, the state that it is drawn in."""


def diagram(  # noqa: PLR0917  each is an option
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|RUN]",
            help="A blueprint's file, or with --app its id; else a run's id or name.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="A run's id or name, whatever it is.", show_default=False),
    ] = None,
    graph: Annotated[
        bool,
        typer.Option(
            "--graph", help="Print a blueprint as JSON for user interfaces: batches and loops are one."
        ),
    ] = False,
    app: options.App = None,
    version: Annotated[
        str | None, typer.Option("--version", help="The blueprint's version, with --app.", show_default=False)
    ] = None,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
) -> int:
    """Draw a blueprint, or what became of a run, as a Mermaid flowchart.

    A run is drawn with the states of its nodes in colour and the edges that it took bold; nodes that ran
    several times say how often.
    """
    from flowcraft.diagram import mermaid
    from flowcraft.ui_graph import to_graph_representation
    from flowcraft_cli.views import print_data, put

    settings = Settings.read(backend=backend, app=app, db=db, queue=queue)
    if (subject is None) == (run is None):
        raise UsageError("give a blueprint, or a run")
    blueprint = None if subject is None else _blueprint(settings, subject, version)
    if graph:
        if blueprint is None:
            raise UsageError("--graph is of a blueprint: give its file, or with --app its id")
        print_data(to_graph_representation(blueprint), options.OutputFormat.JSON)
    elif blueprint is not None:
        put(mermaid(blueprint).rstrip("\n"))
    else:
        try:
            put(asyncio.run(_of_run(settings, run or subject or "")))
        except UsageError as error:
            raise UsageError(f"{error}{_blueprints_there_are(settings, subject)}") from None
    return OK


def _blueprint(settings: Settings, wanted: str, version: str | None) -> Blueprint | None:
    """The blueprint of a file, or of the application; None if it is neither's, so that it names a run."""
    from flowcraft.app import load_app
    from flowcraft_cli.blueprints import in_app

    if Path(wanted).is_file():
        return _in_file(Path(wanted))
    if Path(wanted).suffix in (".json", ".yaml", ".yml"):
        raise UsageError(f"there is no file {wanted}")
    app = load_app(settings.app) if settings.app else None
    if app is None or (wanted not in app.blueprints and version is None):
        return None
    *_, place = in_app(app, wanted, version)
    return place.blueprint


def _blueprints_there_are(settings: Settings, wanted: str | None) -> str:
    """The end of a message about a name that is no run's and, with an application, no blueprint's."""
    from flowcraft.app import load_app

    if not settings.app or wanted is None:
        return ""
    app = load_app(settings.app)
    return f"; app {app.name} has no blueprint {wanted}; it has {', '.join(sorted(app.blueprints)) or 'none'}"


def _in_file(file: Path) -> Blueprint:
    from flowcraft_cli.blueprints import Place, in_files

    places = []
    for found in in_files([file]):
        if isinstance(found, Place):
            places.append(found)
        elif found.severity == "error":
            raise UsageError(f"{found.where}: {found.message}")
    if not places:
        raise UsageError(f"{file} holds no blueprint")
    return places[0].blueprint


async def _of_run(settings: Settings, wanted: str) -> str:
    from flowcraft.diagram import mermaid
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.run_nodes import read_nodes

    async with open_backend(settings) as backend:
        found = await read_nodes(backend, await find_run(backend.client, wanted))
    if found.blueprint is None:
        raise UsageError(f"no worker has started the run {wanted} yet, so its blueprint is not known")
    by_node: dict[str, list[NodeView]] = {}
    for view in found.nodes:
        by_node.setdefault(view.node, []).append(view)
    drawn = mermaid(
        found.blueprint,
        statuses={
            node: min((v.status for v in views), key=_LOUDEST.index) for node, views in by_node.items()
        },
        taken={position for view in found.nodes if view.record for position in view.record.taken},
        notes={node: note for node, views in by_node.items() if (note := _note(views))},
    )
    return drawn.rstrip("\n")


def _note(views: list[NodeView]) -> str:
    """How often a node ran, where that is not once; how far it is."""
    said = [view.said for view in views if view.said]
    if len(views) == 1:
        return said[0] if said else ""
    done = sum(view.status == "completed" for view in views)
    return f"{done}/{len(views)} done" + (f" · {said[-1]}" if said else "")

"""`flowcraft diagram`: a picture of a blueprint, or of a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, UsageError

EXAMPLES = (
    "flowcraft diagram order --app shop.flows:app",
    "flowcraft diagram order.json",
    "flowcraft diagram --run order-1001",
)


def diagram(  # noqa: PLR0917  each is an option
    blueprint: Annotated[
        str | None,
        typer.Argument(
            metavar="[BLUEPRINT]", help="A blueprint's file, or with --app its id.", show_default=False
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="A run's id or name.", show_default=False)
    ] = None,
    app: options.App = None,
    version: Annotated[
        str | None, typer.Option("--version", help="The blueprint's version, with --app.", show_default=False)
    ] = None,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
) -> int:
    """Draw a blueprint, or what became of a run, as a Mermaid flowchart."""
    from flowcraft_cli.views import put

    settings = Settings.read(backend=backend, app=app, db=db, queue=queue)
    if (blueprint is None) == (run is None):
        raise UsageError("give a blueprint, or a run: --run RUN")
    if run is not None:
        put(asyncio.run(_of_run(settings, run)))
    elif blueprint is not None:
        put(_of_blueprint(settings, blueprint, version))
    return OK


def _of_blueprint(settings: Settings, wanted: str, version: str | None) -> str:
    from flowcraft.app import load_app
    from flowcraft.diagram import mermaid
    from flowcraft_cli.blueprints import Place, in_app, in_files

    if settings.app and not Path(wanted).is_file():
        *_, place = in_app(load_app(settings.app), wanted, version)
    else:
        places = []
        for found in in_files([Path(wanted)]):
            if isinstance(found, Place):
                places.append(found)
            elif found.severity == "error":
                raise UsageError(f"{found.where}: {found.message}")
        if not places:
            raise UsageError(f"{wanted} holds no blueprint")
        place = places[0]
    return mermaid(place.blueprint).rstrip("\n")


async def _of_run(settings: Settings, wanted: str) -> str:
    from flowcraft.diagram import mermaid
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.pinned import pinned_blueprint

    async with open_backend(settings) as backend:
        header = await find_run(backend.client, wanted)
        blueprint = await pinned_blueprint(backend, header)
        if blueprint is None:
            raise UsageError(f"no worker has started the run {wanted} yet, so its blueprint is not known")
        records = await backend.client.records(header["id"])
    drawn = mermaid(
        blueprint,
        statuses={record.node: record.status for record in records.values()},
        taken={position for record in records.values() for position in record.taken},
    )
    return drawn.rstrip("\n")

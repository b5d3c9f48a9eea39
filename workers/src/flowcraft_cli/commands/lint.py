"""`flowcraft lint`: a blueprint's mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, RUN_FAILED, UsageError, note

if TYPE_CHECKING:
    from flowcraft.app import App
    from flowcraft_cli.blueprints import Missing, Place

EXAMPLES = (
    "flowcraft lint --app shop.flows:app",
    "flowcraft lint order.json",
    "flowcraft lint run.yaml --app shop.flows:app -o json",
)


def lint(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="Blueprints as JSON or YAML, or manifests.", show_default=False
        ),
    ] = None,
    app: options.App = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Find mistakes in blueprints before anything runs.

    Looks at the files given, and without files at every blueprint of the application. With an application,
    nodes without implementation are found too, and manifests that name a blueprint it does not have. Exits
    with 1 if there is a mistake that keeps a blueprint from running.
    """
    from flowcraft.app import load_app
    from flowcraft_cli.blueprints import Place, in_app, in_files

    settings = Settings.read(app=app)
    loaded = load_app(settings.app) if settings.app else None
    if not files and loaded is None:
        raise UsageError("give a file, or an application: --app module:attribute")
    places: list[Place | Missing] = []
    for file in files or ():
        places += (inside := list(in_files([file], loaded)))
        if not inside:
            note(f"{file}: no blueprint to look at{'' if loaded else '; one that is named needs --app'}")
    if not files and loaded is not None:
        places += in_app(loaded)
    found = list(_findings(places, loaded))
    _print(found, output)
    errors = sum(each["severity"] == "error" for each in found)
    looked_at = sum(isinstance(place, Place) for place in places)
    note(f"{looked_at} blueprint(s) looked at, {errors} error(s), {len(found) - errors} warning(s)")
    return RUN_FAILED if errors else OK


def _findings(places: list[Place | Missing], app: App | None) -> Iterator[dict[str, Any]]:
    from flowcraft.linter import Finding
    from flowcraft.linter import lint as look
    from flowcraft_cli.blueprints import Missing

    for place in places:
        if isinstance(place, Missing):
            found: Iterable[Finding] = [Finding("UNKNOWN_BLUEPRINT", place.message)]
        else:
            found = look(place.blueprint, app.registry if app else None)
        for finding in found:
            yield {
                "where": place.where,
                "severity": finding.severity,
                "code": finding.code,
                "message": finding.message,
                "node": finding.node,
                "edge": list(finding.edge) if finding.edge else None,
            }


def _print(found: list[dict[str, Any]], output: options.OutputFormat) -> None:
    from flowcraft_cli.views import print_data, put

    if output not in (options.OutputFormat.TABLE, options.OutputFormat.WIDE):
        print_data(found, output)
        return
    for each in found:
        put(f"{each['where']}: {each['severity']}: {each['code']}: {each['message']}")

"""`flowcraft lint`: a blueprint's mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, RUN_FAILED, UsageError, note

if TYPE_CHECKING:
    from flowcraft.app import App
    from flowcraft.sources import Position
    from flowcraft_cli.blueprints import Mistake, Place

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
    nodes without implementation are found too, parameters of nodes that no dependency fills, manifests that
    name a blueprint it does not have, and context keys that its code reads and nobody writes. What stands in
    a file is told with line and column. Exits with 1 if there is a mistake that keeps a blueprint from
    running.
    """
    from flowcraft.app import load_app
    from flowcraft_cli.blueprints import Place, in_app, in_files

    settings = Settings.read(app=app)
    loaded = load_app(settings.app) if settings.app else None
    if not files and loaded is None:
        raise UsageError("give a file, or an application: --app module:attribute")
    places: list[Place | Mistake] = []
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


def _findings(places: list[Place | Mistake], app: App | None) -> Iterator[dict[str, Any]]:
    from flowcraft.linting.context_keys import keys_of, misspelt_keys
    from flowcraft_cli.blueprints import Place

    code = keys_of(app.registry.values()) if app else []
    written = {key for each in code for key in each.written}
    for place in places:
        if isinstance(place, Place):
            yield from _of_blueprint(place, app, written)
        else:
            yield _row(place.where, place.severity, place.code, place.message, position=place.position)
    if app is not None:
        for told in app.registry.missing_dependencies(app.dependencies):
            yield _row(app.name, "error", "MISSING_DEPENDENCY", told)
        ids = {node for place in places if isinstance(place, Place) for node in place.blueprint.node_ids}
        for finding in misspelt_keys(code, ids):
            yield _row(app.name, finding.severity, finding.code, finding.message)


def _of_blueprint(place: Place, app: App | None, written: set[str]) -> Iterator[dict[str, Any]]:
    from flowcraft.linter import lint as look
    from flowcraft.linting.finding import Paths

    paths = Paths(place.blueprint)
    registry, blueprints = (app.registry, app.blueprints) if app else (None, None)
    for finding in look(place.blueprint, registry, context_keys=written, blueprints=blueprints):
        position, document = None, place.document
        if document is not None:
            path = (*place.path, *paths.of(finding))
            at = finding.character
            position = document.position(path) if at is None else document.inside(path, at)
        row = _row(place.where, finding.severity, finding.code, finding.message, position=position)
        yield {**row, "node": finding.node, "edge": list(finding.edge) if finding.edge else None}


def _row(
    where: str, severity: str, code: str, message: str, *, position: Position | None = None
) -> dict[str, Any]:
    return {
        "where": where,
        "line": position.line if position else None,
        "column": position.column if position else None,
        "severity": severity,
        "code": code,
        "message": message,
        "node": None,
        "edge": None,
    }


def _print(found: list[dict[str, Any]], output: options.OutputFormat) -> None:
    from flowcraft_cli.views import print_data, put

    if output not in (options.OutputFormat.TABLE, options.OutputFormat.WIDE):
        print_data(found, output)
        return
    for each in found:
        file, colon, rest = each["where"].partition(": ")
        place = f":{each['line']}:{each['column']}" if each["line"] else ""
        put(f"{file}{place}{colon}{rest}: {each['severity']}: {each['code']}: {each['message']}")

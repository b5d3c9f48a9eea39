"""The blueprints that a command is pointed at: files, manifests, or an application."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.app import App
    from flowcraft.blueprint import Blueprint
    from flowcraft.linting.finding import Severity
    from flowcraft.sources import Position, SourceDocument
    from flowcraft_api.resources import WorkflowRun


DocumentPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A blueprint and where it stands, for messages.

    Attributes:
        where: Its file, or its application, and the manifest that it stands in.
        blueprint: The blueprint.
        document: The document that it was read from; None for one that code has built.
        path: Keys from that document to the blueprint.
    """

    where: str
    blueprint: Blueprint
    document: SourceDocument | None = None
    path: DocumentPath = ()


@dataclass(frozen=True, slots=True)
class Mistake:
    """A document that gives no blueprint, or something in one that is wrong around the blueprint.

    Attributes:
        where: The file and the manifest, for messages.
        code: What kind of mistake, for programs.
        message: What is wrong.
        position: Where in the file, if that is known.
        severity: An ``error`` keeps it from running.
    """

    where: str
    code: str
    message: str
    position: Position | None = None
    severity: Severity = "error"


def in_files(files: list[Path], app: App | None = None) -> Iterator[Place | Mistake]:
    """The blueprints of files: a blueprint as JSON or YAML, or of manifests.

    A manifest has its blueprint inline, or names one of the application; without an application, a named one
    is passed over.

    Raises:
        UsageError: a file cannot be read, or is neither JSON nor YAML.
        ManifestError: a manifest is not what it should be.
    """
    for file in files:
        for document in read_mappings(file, "a blueprint is an object with id, nodes and edges"):
            if "apiVersion" in document.value and "kind" in document.value:
                yield from _in_manifest(file, document, app)
            else:
                yield from _read(str(file), document, ())


def read_mappings(file: Path, expected: str) -> list[SourceDocument]:
    """The documents of a file, ``-`` for standard input; each an object.

    Raises:
        UsageError: it cannot be read, is neither JSON nor YAML, or holds something else than objects.
    """
    from flowcraft.sources import SourceError, read_documents, read_file

    if file.suffix == ".py" and file.is_file():
        parts = file.with_suffix("").parts
        module = ".".join(parts) if all(map(str.isidentifier, parts)) else file.stem
        raise UsageError(f"{file} is Python code; name the application in it: --app {module}:app")
    try:
        found = read_documents(sys.stdin.buffer.read()) if str(file) == "-" else read_file(file)
    except SourceError as error:
        place = f"{file}:{error.position}" if error.position else str(file)
        raise UsageError(f"{place}: {error}") from None
    for document in found:
        if not isinstance(document.value, Mapping):
            raise UsageError(f"{file}:{document.position(())}: {expected}")
    return found


def _read(where: str, document: SourceDocument, path: DocumentPath) -> Iterator[Place | Mistake]:
    """The blueprint at a place of a document."""
    from flowcraft.blueprint import Blueprint
    from flowcraft.errors import BlueprintError

    value = document.value
    for part in path:
        value = value[part]
    for again in document.repetitions() if not path else ():
        message = f"the key {again.key!r} stands twice in its object, and only the last one counts"
        yield Mistake(where, "REPEATED_KEY", message, again.position, "warning")
    try:
        yield Place(where, Blueprint.from_dict(value), document, path)
    except BlueprintError as error:
        yield Mistake(where, "INVALID_BLUEPRINT", str(error), document.position((*path, *error.path)))


def in_app(app: App, blueprint_id: str | None = None, version: str | None = None) -> Iterator[Place]:
    """The blueprints of an application: all versions of all, of one, or one version.

    Raises:
        UsageError: there is none of that id and version.
    """
    known = app.blueprints
    ids = list(known) if blueprint_id is None else [blueprint_id]
    found = False
    for each in ids:
        for known_version in known.versions(each):
            if version is not None and known_version != version:
                continue
            blueprint = known.find(each, known_version)
            if blueprint is not None:
                found = True
                yield Place(f"{app.name}: {each}" + (f" {known_version}" if known_version else ""), blueprint)
    if not found and blueprint_id is not None:
        wanted = blueprint_id + (f" version {version}" if version else "")
        raise UsageError(
            f"app {app.name} has no blueprint {wanted}; it has {', '.join(sorted(known)) or 'none'}"
        )


def named(app: App, blueprint_id: str, version: str | None) -> Blueprint:
    """The blueprint that a manifest names.

    Raises:
        UsageError: the application has none of that id, or not in that version.
    """
    known = app.blueprints
    found = known.find(blueprint_id, version)
    if found is not None:
        return found
    if versions := known.versions(blueprint_id):
        told = ", ".join(str(each) for each in versions)
        raise UsageError(f"app {app.name} has no version {version} of {blueprint_id}; it has {told}")
    raise UsageError(
        f"app {app.name} has no blueprint {blueprint_id!r}; it has {', '.join(sorted(known)) or 'none'}"
    )


def _in_manifest(file: Path, document: SourceDocument, app: App | None) -> Iterator[Place | Mistake]:
    from flowcraft_api.manifest import parse_worker_pool, parse_workflow_run
    from flowcraft_cli.manifests import require_kept

    require_kept(file, document)
    if document.value["kind"] == "FlowcraftWorkerPool":
        parse_worker_pool(document.value)
        return
    run = parse_workflow_run(document.value)
    where = f"{file}: {run.metadata.name}"
    if run.spec.blueprint.inline is not None:
        for found in _read(f"{where}: blueprint.inline", document, ("spec", "blueprint", "inline")):
            yield found
            if isinstance(found, Place):
                yield from _decisions(where, run, found.blueprint, document)
    elif app is not None and run.spec.blueprint.name is not None:
        try:
            blueprint = named(app, run.spec.blueprint.name, run.spec.blueprint.version)
        except UsageError as error:
            position = document.position(("spec", "blueprint"))
            yield Mistake(where, "UNKNOWN_BLUEPRINT", str(error), position)
        else:
            yield Place(where, blueprint)
            yield from _decisions(where, run, blueprint, document)


def _decisions(
    where: str, run: WorkflowRun, blueprint: Blueprint, document: SourceDocument
) -> Iterator[Mistake]:
    from flowcraft.linting.decisions import unknown_decision

    for place, decision in enumerate(run.spec.decisions):
        if told := unknown_decision(blueprint, decision.node_key):
            position = document.position(("spec", "decisions", place, "nodeKey"))
            yield Mistake(where, "UNKNOWN_DECISION", told, position)

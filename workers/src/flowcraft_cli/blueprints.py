"""The blueprints that a command is pointed at: files, manifests, or an application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.app import App
    from flowcraft.blueprint import Blueprint


@dataclass(frozen=True, slots=True)
class Place:
    """A blueprint and where it stands, for messages."""

    where: str
    blueprint: Blueprint


@dataclass(frozen=True, slots=True)
class Missing:
    """A manifest that names a blueprint which the application does not have.

    Attributes:
        where: The manifest, for messages.
        message: What is asked for, and what there is.
    """

    where: str
    message: str


def in_files(files: list[Path], app: App | None = None) -> Iterator[Place | Missing]:
    """The blueprints of files: a blueprint as JSON or YAML, or of manifests.

    A manifest has its blueprint inline, or names one of the application; without an application, a named one
    is passed over.

    Raises:
        UsageError: a file cannot be read.
        BlueprintError: one is no blueprint.
        ManifestError: a manifest is not what it should be.
    """
    for file in files:
        for document in _documents(file):
            if "apiVersion" in document and "kind" in document:
                yield from _in_manifest(file, document, app)
            else:
                from flowcraft.blueprint import Blueprint

                yield Place(str(file), Blueprint.from_dict(document))


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


def _documents(file: Path) -> Iterator[Mapping[str, Any]]:
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        ) from None
    try:
        found = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise UsageError(
            f"{file} is neither JSON nor YAML: {getattr(error, 'problem', None) or error}"
        ) from None
    for document in found:
        if not isinstance(document, Mapping):
            raise UsageError(f"{file}: a blueprint is an object with id, nodes and edges")
        yield document


def _in_manifest(file: Path, document: Mapping[str, Any], app: App | None) -> Iterator[Place | Missing]:
    from flowcraft.blueprint import Blueprint
    from flowcraft_api.manifest import parse_worker_pool, parse_workflow_run

    if document["kind"] == "FlowcraftWorkerPool":
        parse_worker_pool(document)
        return
    run = parse_workflow_run(document)
    if run.spec.blueprint.inline is not None:
        where = f"{file}: {run.metadata.name}: blueprint.inline"
        yield Place(where, Blueprint.from_dict(run.spec.blueprint.inline))
    elif app is not None and run.spec.blueprint.name is not None:
        where = f"{file}: {run.metadata.name}"
        try:
            yield Place(where, named(app, run.spec.blueprint.name, run.spec.blueprint.version))
        except UsageError as error:
            yield Missing(where, str(error))

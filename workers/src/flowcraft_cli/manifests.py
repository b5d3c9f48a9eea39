"""Manifests: the WorkflowRuns of YAML files, checked as the API server would check them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcraft_cli.json_arguments import told
from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.sources import SourceDocument
    from flowcraft_api.resources import WorkflowRun


def read_runs(files: Sequence[Path]) -> list[WorkflowRun]:
    """The WorkflowRuns of all files, in order; a file may hold several documents, and pools beside runs.

    Raises:
        UsageError: a file cannot be read, is no YAML, or holds values that no backend keeps; or there is no
            WorkflowRun in any.
        ManifestError: a manifest is not what it should be; the text names the field.
    """
    from flowcraft_api.manifest import parse_worker_pool, parse_workflow_run

    runs: list[WorkflowRun] = []
    for file in files:
        for document in _documents(file):
            kind = document.get("kind")
            if "nodes" in document and kind is None:
                raise UsageError(
                    f"{file} is a blueprint, and a run of it needs a manifest: `kind: WorkflowRun`, with the "
                    f"blueprint at spec.blueprint.inline (or its name, if the app has it, at "
                    f"spec.blueprint.name); `flowcraft lint {file}` looks for its mistakes"
                )
            if kind == "FlowcraftWorkerPool":
                parse_worker_pool(document)  # not needed to run here, but a mistake in it is told
            else:
                runs.append(parse_workflow_run(document))
    if not runs:
        raise UsageError(
            f"no WorkflowRun in {', '.join(map(str, files))}; give a manifest of `kind: WorkflowRun`"
        )
    _require_own_names(runs)
    return runs


def _documents(file: Path) -> list[Mapping[str, Any]]:
    from flowcraft_cli.blueprints import read_mappings

    documents: list[Mapping[str, Any]] = []
    for found in read_mappings(file, "a manifest is an object with apiVersion, kind, metadata and spec"):
        require_kept(file, found)
        document = found.value
        items = document.get("items") if document.get("kind") == "List" else None
        documents.extend(items if isinstance(items, list) else [document])
    return documents


def require_kept(file: Path, found: SourceDocument) -> None:
    """Refuse what no backend could keep in the values that a run is given, with its place in the file.

    Such are integers above 53 bits, which would lose digits, and values nested deeper than JSON stores take.

    Raises:
        UsageError: there is such a value.
    """
    from flowcraft.json_values import NotJsonError, check_json, path_to

    for path, value in _given(found.value, ()):
        try:
            check_json(value)
        except NotJsonError as error:
            position = found.position((*path, *path_to(error.place, value)))
            place = ".".join(map(str, path))
            raise UsageError(f"{file}:{position}: {place}: {told(error)}") from None


def _given(document: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The values in a manifest, or in a List of them, whose form is not the manifest's but the user's."""
    if not isinstance(document, Mapping):
        return
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        for place, item in enumerate(document["items"]):
            yield from _given(item, (*path, "items", place))
    for steps in (("spec", "input"), ("spec", "decisions"), ("spec", "blueprint", "inline")):
        value: Any = document
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            yield (*path, *steps), value


def _require_own_names(runs: Sequence[WorkflowRun]) -> None:
    names = [run.metadata.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"several WorkflowRuns are named {twice[0]}; give each its own metadata.name")

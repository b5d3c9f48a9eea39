"""Manifests: the WorkflowRuns of YAML files, checked as the API server would check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft_api.resources import WorkflowRun


def read_runs(files: Sequence[Path]) -> list[WorkflowRun]:
    """The WorkflowRuns of all files, in order; a file may hold several documents, and pools beside runs.

    Raises:
        UsageError: a file cannot be read, is no YAML, or there is no WorkflowRun in any.
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
        document = found.value
        items = document.get("items") if document.get("kind") == "List" else None
        documents.extend(items if isinstance(items, list) else [document])
    return documents


def _require_own_names(runs: Sequence[WorkflowRun]) -> None:
    names = [run.metadata.name for run in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"several WorkflowRuns are named {twice[0]}; give each its own metadata.name")

"""The chart as helm renders it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tests.kubernetes.api_server import find_program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "flowcraft-operator"
NAMESPACE = "flowcraft-system"


class RefusedError(Exception):
    """Helm does not take the values; the text says why."""


def helm() -> str | None:
    """The program, from FLOWCRAFT_HELM, the cluster's cache, or the path."""
    return find_program("helm", "FLOWCRAFT_HELM")


def render(
    values: dict[str, Any] | None = None,
    *,
    show_only: str = "",
    release: str = "fc",
    namespace: str = NAMESPACE,
) -> list[dict[str, Any]]:
    """All objects of the chart with these values.

    Raises:
        RefusedError: helm refuses the values.
    """
    command = [str(helm()), "template", release, str(CHART), "--namespace", namespace, "--values", "-"]
    if show_only:
        command += ["--show-only", show_only]
    done = subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RefusedError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [document for document in documents if document["kind"] == kind]

"""Reading a manifest: a model of it, or one message that says which field is wrong and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from flowcraft_api.documents import LABEL_PATTERN
from flowcraft_api.resources import API_VERSION, MAX_POOL_NAME_LENGTH, FlowcraftWorkerPool, WorkflowRun

_Resource = TypeVar("_Resource", FlowcraftWorkerPool, WorkflowRun)

_MAX_PROBLEMS = 5


class ManifestError(ValueError):
    """A manifest that is refused. Its text is one line: every wrong field with what to do about it."""


def parse_worker_pool(manifest: Mapping[str, Any]) -> FlowcraftWorkerPool:
    """Read a FlowcraftWorkerPool out of a decoded manifest or an object of the API server.

    Raises:
        ManifestError: a field is missing, unknown, or has a value that is not allowed.
    """
    pool = _parse(FlowcraftWorkerPool, manifest)
    if len(pool.metadata.name) > MAX_POOL_NAME_LENGTH or not re.match(LABEL_PATTERN, pool.metadata.name):
        raise ManifestError(
            f"FlowcraftWorkerPool {pool.metadata.name}: metadata.name: "
            f"use at most {MAX_POOL_NAME_LENGTH} lower-case letters, digits and hyphens"
        )
    return pool


def parse_workflow_run(manifest: Mapping[str, Any]) -> WorkflowRun:
    """Read a WorkflowRun out of a decoded manifest or an object of the API server.

    Raises:
        ManifestError: a field is missing, unknown, or has a value that is not allowed.
    """
    return _parse(WorkflowRun, manifest)


def _parse(model: type[_Resource], manifest: Mapping[str, Any]) -> _Resource:
    kind = model.definition.kind
    if not isinstance(manifest, Mapping):
        raise ManifestError(
            f"{kind}: the manifest must be an object with apiVersion, kind, metadata and spec"
        )
    if (manifest.get("apiVersion"), manifest.get("kind")) != (API_VERSION, kind):
        given = " and ".join(
            f"{name}: {manifest[name]}" if name in manifest else f"no {name}"
            for name in ("apiVersion", "kind")
        )
        raise ManifestError(
            f"expected apiVersion: {API_VERSION} and kind: {kind}, but the manifest has {given}"
        )
    try:
        return model.model_validate(manifest)
    except ValidationError as error:
        problems = [_problem(model, detail) for detail in error.errors(include_url=False)]
    shown = "; ".join(problems[:_MAX_PROBLEMS])
    more = f"; and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    raise ManifestError(f"{kind} {name}: {shown}{more}" if name else f"{kind}: {shown}{more}")


def _problem(model: type[BaseModel], detail: ErrorDetails) -> str:
    """One wrong field: its path and what to do."""
    location = detail["loc"]
    if detail["type"] == "recursion_loop":  # what pydantic takes for a circle
        return (
            f"{_path(location[:2])}: is nested deeper than 250 levels; pass a reference to such data instead"
        )
    return f"{_path(location)}: {_advice(model, detail)}"


def _path(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "manifest"


def _advice(model: type[BaseModel], detail: ErrorDetails) -> str:
    shown = _shown(detail["input"])
    match detail["type"]:
        case "missing":
            advice = "is required; add it"
        case "extra_forbidden":
            advice = _unknown_field(model, detail["loc"])
        case "value_error":
            advice = str(detail["ctx"]["error"])
        case "duration" | "duration_zero":
            advice = detail["msg"]
        case "string_pattern_mismatch":
            advice = f"{shown} is not allowed. {_purpose(model, detail['loc'])}".rstrip()
        case "string_type" if isinstance(detail["input"], bool | int | float):
            advice = f'must be text: write "{_as_yaml(detail["input"])}"'
        case "none_required" | "model_type" | "model_attributes_type" | "dict_type":
            advice = f"must be an object, but is {shown}"
        case _:
            message = detail["msg"]
            advice = f"{message[:1].lower()}{message[1:]}, but it is {shown}"
    return advice


def _unknown_field(model: type[BaseModel], location: Sequence[int | str]) -> str:
    known = _fields_at(model, location[:-1])
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    if near:
        return f"is not a field here; did you mean {near[0]}?"
    return f"is not a field here; remove it, or use one of {', '.join(known)}"


def _purpose(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """The first sentence of a field's description."""
    owner = _model_at(model, location[:-1])
    field = _field(owner, location[-1]) if owner is not None else None
    description = " ".join((field.description or "").split()) if field is not None else ""
    return description.split(". ")[0].rstrip(".")


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The field names of the model that a location leads to."""
    found = _model_at(model, location)
    return [] if found is None else [field.alias or name for name, field in found.model_fields.items()]


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = _field(current, part)
        current = _model_in(field.annotation) if field is not None else None
    return current


def _field(model: type[BaseModel], part: int | str) -> FieldInfo | None:
    return next((field for name, field in model.model_fields.items() if part in (field.alias, name)), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds: itself, in an optional, or as a list's item."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _as_yaml(value: float) -> str:
    """A number or truth value as YAML writes it; a bool is an int to Python."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

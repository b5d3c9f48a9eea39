"""The form of a blueprint's JSON, as models: the one source of the published JSON Schema and of its table.

Reading a blueprint does not use these models: ``definition_reader`` says in one sentence what is wrong. Tests
hold them together: what one accepts, the other does.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, StringConstraints

from flowcraft.definition_reader import MAX_EDGES, MAX_NODES
from flowcraft.parameter_forms import PARAMS, ConfigForm, Part, Text

SCHEMA_ID: Final = "https://flowcraft.io/schemas/blueprint.schema.json"
_Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^#\[\]]+$")]


class NodeForm(Part):
    """One step."""

    id: _Id = Field(description="Its name in the blueprint; what edges, inputs and expressions call it.")
    uses: Text = Field(
        description=f"Name of its implementation, or a kind of the engine: {', '.join(PARAMS)}.",
        examples=list(PARAMS),
    )
    params: dict[str, Any] | None = Field(
        None,
        description="Static parameters, as the node's code reads them; of a kind of the engine, as below.",
    )
    inputs: str | dict[str, str] | None = Field(
        None,
        description="Where its input comes from: a node id, a context key, a field of the run's input, or a "
        "path such as charge.paid; or an object of such sources. Without it: the values of its taken edges.",
    )
    config: ConfigForm | None = Field(None, description="Retries, timeout, fallback and join.")


class EdgeForm(Part):
    """A connection of two nodes."""

    source: Text = Field(description="Id of the node that it leaves.")
    target: Text = Field(description="Id of the node that it enters.")
    action: str | None = Field(None, description="Taken only when the source's result has this action.")
    condition: str | None = Field(
        None, description="Taken only when this holds: a path such as result.output.paid, or CEL."
    )
    transform: str | None = Field(
        None, description="Expression for the value that the target gets: a path such as input.paid, or CEL."
    )


class MetadataForm(Part):
    """Free JSON; two of its fields mean something."""

    version: Annotated[str, StringConstraints(min_length=1, pattern=r"\S")] | None = Field(
        None, description='Version of the blueprint, a string such as "1".'
    )
    cycle_entry_points: list[str] | None = Field(
        None, description="Node ids at which loops are entered that have several ways in."
    )


class BlueprintForm(Part):
    """A Flowcraft blueprint: nodes, and the edges between them."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(description="Its name.")
    nodes: Annotated[list[NodeForm], Field(max_length=MAX_NODES)] = Field(description="The steps.")
    edges: Annotated[list[EdgeForm], Field(max_length=MAX_EDGES)] | None = Field(
        None, description="The connections of the steps."
    )
    metadata: MetadataForm | None = Field(None, description="Version, and whatever else you keep with it.")


FORMS: Final[tuple[type[BaseModel], ...]] = (
    BlueprintForm,
    MetadataForm,
    NodeForm,
    ConfigForm,
    EdgeForm,
    *PARAMS.values(),
)


def blueprint_schema() -> dict[str, Any]:
    """The JSON Schema of a blueprint (draft 2020-12)."""
    schema = BlueprintForm.model_json_schema()
    parts = schema["$defs"]
    for form in PARAMS.values():
        own = form.model_json_schema()
        parts.update(own.pop("$defs", {}))
        parts[form.__name__] = own
    parts["NodeForm"]["allOf"] = [_params_of(uses, form) for uses, form in PARAMS.items()]
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}
    return dict(_tidied({**document, "title": "Flowcraft blueprint"}))


def _params_of(uses: str, form: type[BaseModel]) -> dict[str, Any]:
    """The rule for a kind of the engine; written so that an editor shows what the fields mean."""
    named = {"$ref": f"#/$defs/{form.__name__}"}
    needed = any(field.is_required() for field in form.model_fields.values())
    params = named if needed else {"anyOf": [named, {"type": "null"}]}
    return {
        "if": {"properties": {"uses": {"const": uses}}, "required": ["uses"]},
        "then": {"properties": {"params": params}, **({"required": ["params"]} if needed else {})},
    }


def schema_text() -> str:
    """The JSON Schema as the file that is published."""
    return json.dumps(blueprint_schema(), indent=2, ensure_ascii=False) + "\n"


def fields_of(form: type[BaseModel]) -> tuple[str, ...]:
    """Names of a form's fields in JSON."""
    return tuple(field.alias or name for name, field in form.model_fields.items())


def _tidied(value: Any) -> Any:
    """Without the titles and defaults that say nothing but the field's name and null."""
    if isinstance(value, list):
        return [_tidied(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _tidied(each) for name, each in value.items() if (name, each) != ("default", None)}
    if isinstance(kept.get("title"), str) and kept["title"] != "Flowcraft blueprint":
        del kept["title"]
    return kept

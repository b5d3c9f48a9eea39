"""The form of a blueprint's JSON, as models: the one source of the published JSON Schema and of its table.

Reading a blueprint does not use these models: ``definition_reader`` says in one sentence what is wrong. A
test holds the two together: what one accepts, the other does.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from flowcraft.definition_reader import MAX_ATTEMPTS, MAX_EDGES, MAX_MILLISECONDS, MAX_NODES

SCHEMA_ID: Final = "https://flowcraft.io/schemas/blueprint.schema.json"
_Text = Annotated[str, StringConstraints(min_length=1)]
_Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^#\[\]]+$")]


class _Part(BaseModel):
    """Unknown fields are kept, as the original keeps them."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, strict=True)


class ConfigForm(_Part):
    """How a node is tried, replaced and joined."""

    max_retries: Annotated[int, Field(ge=0, le=MAX_ATTEMPTS)] | None = Field(
        None, description="Attempts in all, the first included; without it, the implementation's own, else 1."
    )
    retry_delay: Annotated[float, Field(ge=0, le=MAX_MILLISECONDS)] | None = Field(
        None, description="Milliseconds before the second attempt; doubles from there."
    )
    timeout: Annotated[float, Field(ge=0, le=MAX_MILLISECONDS)] | None = Field(
        None, description="Milliseconds an attempt may take; 0 or nothing: no limit."
    )
    fallback: str | None = Field(
        None, description="Id of the node, or name of the implementation, that runs as the last attempt."
    )
    join_strategy: Literal["all", "any"] | None = Field(
        None,
        description="`all` (default) waits for every incoming edge, `any` runs at the first taken one.",
    )


class NodeForm(_Part):
    """One step."""

    id: _Id = Field(description="Its name in the blueprint; what edges, inputs and expressions call it.")
    uses: _Text = Field(
        description="Name of its implementation, or a kind of the engine: wait, sleep, webhook, subflow, "
        "batch-scatter, batch-gather, loop-controller."
    )
    params: dict[str, Any] | None = Field(
        None, description="Static parameters, as the node's code reads them."
    )
    inputs: str | dict[str, str] | None = Field(
        None,
        description="Where its input comes from: a node id, a context key, or a path such as charge.paid; or "
        "an object of such sources. Without it: the values of its taken edges.",
    )
    config: ConfigForm | None = Field(None, description="Retries, timeout, fallback and join.")


class EdgeForm(_Part):
    """A connection of two nodes."""

    source: _Text = Field(description="Id of the node that it leaves.")
    target: _Text = Field(description="Id of the node that it enters.")
    action: str | None = Field(None, description="Taken only when the source's result has this action.")
    condition: str | None = Field(
        None, description="Taken only when this holds: a path such as result.output.paid, or CEL."
    )
    transform: str | None = Field(
        None, description="Expression for the value that the target gets: a path such as input.paid, or CEL."
    )


class MetadataForm(_Part):
    """Free JSON; two of its fields mean something."""

    version: Annotated[str, StringConstraints(min_length=1, pattern=r"\S")] | None = Field(
        None, description='Version of the blueprint, a string such as "1".'
    )
    cycle_entry_points: list[str] | None = Field(
        None, description="Node ids at which loops are entered that have several ways in."
    )


class BlueprintForm(_Part):
    """A Flowcraft blueprint: nodes, and the edges between them."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(description="Its name.")
    nodes: Annotated[list[NodeForm], Field(max_length=MAX_NODES)] = Field(description="The steps.")
    edges: Annotated[list[EdgeForm], Field(max_length=MAX_EDGES)] | None = Field(
        None, description="The connections of the steps."
    )
    metadata: MetadataForm | None = Field(None, description="Version, and whatever else you keep with it.")


FORMS: Final = (BlueprintForm, MetadataForm, NodeForm, ConfigForm, EdgeForm)


def blueprint_schema() -> dict[str, Any]:
    """The JSON Schema of a blueprint (draft 2020-12)."""
    schema = BlueprintForm.model_json_schema()
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}
    return dict(_tidied({**document, "title": "Flowcraft blueprint"}))


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

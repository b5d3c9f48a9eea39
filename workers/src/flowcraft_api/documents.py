"""What the models of both resources share: strictness, spelling, and fields of free form."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, JsonValue, WithJsonSchema
from pydantic.alias_generators import to_camel

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""A DNS label (RFC 1123)."""

SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""A DNS subdomain (RFC 1123): what most Kubernetes objects may be called."""


class SpecModel(BaseModel):
    """A part of a spec: unknown fields and wrong types are refused, as the API server refuses them.

    The text below an attribute is its description: `kubectl explain` prints it.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        strict=True,
        use_attribute_docstrings=True,
        validate_default=False,
    )


class StatusModel(BaseModel):
    """A part of a status: written by the operator, so what another version of it wrote is ignored here."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    def to_document(self) -> dict[str, Any]:
        """The JSON form that is written to the API server: camelCase, without what is not known.

        Write it whole (a JSON patch that sets `/status`, or PUT): a merge patch leaves behind what is no
        longer known, and drops null values inside an output.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def one_of_rule(*fields: str) -> str:
    """A CEL rule: exactly one of the fields is set."""
    return "[" + ", ".join(f"has(self.{field})" for field in fields) + "].filter(given, given).size() == 1"


def rule(expression: str, message: str) -> dict[str, JsonValue]:
    """One CEL rule of a schema, as an entry of `x-kubernetes-validations`."""
    return {"rule": expression, "message": message}


def immutable(message: str) -> dict[str, JsonValue]:
    """Schema text that makes the API server refuse every change of the field."""
    return {"x-kubernetes-validations": [rule("self == oldSelf", message)]}


FreeFormObject = Annotated[
    dict[str, JsonValue],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""A JSON object whose fields are the user's own."""

AnyJson = Annotated[JsonValue, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON value."""

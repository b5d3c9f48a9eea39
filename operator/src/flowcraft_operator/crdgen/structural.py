"""From pydantic's JSON schema to a structural schema, as `apiextensions.k8s.io/v1` wants it.

Rules: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions, "Specifying a
structural schema". References are written out, `title` and null are dropped, and everything else that the API
server would refuse, drop silently, or price too high in CEL is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_LIST_TYPE = "x-kubernetes-list-type"
_RULES = "x-kubernetes-validations"

_SCALARS = frozenset({"string", "integer", "number", "boolean"})
_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    _LIST_TYPE,
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    _PRESERVE,
    _RULES,
)
_HANDLED = frozenset(
    {"$ref", "title", "anyOf", "const", "properties", "required", "items", "additionalProperties"}
)
_ADVICE = {
    "allOf": "write the constraints on the field itself",
    "discriminator": "give each variant a field of its own, and a CEL rule that exactly one is set",
    "examples": "put the example into the description",
    "exclusiveMaximum": "use `le`",
    "exclusiveMinimum": "use `ge`",
    "oneOf": "give each variant a field of its own, and a CEL rule that exactly one is set",
    "patternProperties": "use a map of one value type",
    "prefixItems": "use an object with named fields",
    "uniqueItems": "use a list map",
}


class StructuralSchemaError(ValueError):
    """A model says something that a custom resource definition cannot say; the text names the field."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the resource a schema stands."""

    path: str
    bounded: bool
    """Whether the field is written by users: then its size must be bounded, and its defaults are the
    server's."""

    def child(self, name: str) -> _Place:
        return _Place(f"{self.path}.{name}", self.bounded)

    def refuse(self, problem: str) -> StructuralSchemaError:
        return StructuralSchemaError(f"{self.path}: {problem}")


def structural_schema(schema: Mapping[str, Any], path: str, *, bounded: bool) -> Schema:
    """Turn the JSON schema of a model into a structural schema.

    Args:
        schema: what `model_json_schema(by_alias=True)` gives, with its `$defs`.
        path: the path of the model in the resource, such as `spec`, for messages.
        bounded: ask for a bound on every string, list and map (CEL's cost is estimated from these), and keep
            defaults. For what users write; not for the status, where a default would claim what nobody
            observed.

    Raises:
        StructuralSchemaError: the schema says what a structural schema cannot, or lacks a description or a
        bound.
    """
    return _field(schema, schema.get("$defs", {}), _Place(path, bounded))


def _field(schema: Mapping[str, Any], definitions: Mapping[str, Any], place: _Place) -> Schema:
    flat = _inlined(schema, definitions, place)
    for keyword in flat:
        if keyword not in _HANDLED and keyword not in _KEPT and keyword != "$defs":
            advice = _ADVICE.get(keyword, "say it with a CEL rule, or leave it out")
            raise place.refuse(f"`{keyword}` cannot be said here; {advice}")
    result: Schema = {keyword: flat[keyword] for keyword in _KEPT if keyword in flat}
    if "const" in flat:
        result["enum"] = [flat["const"]]
    _describe(result, place)
    match result.get("type"):
        case "object":
            _object(result, flat, definitions, place)
        case "array":
            _array(result, flat, definitions, place)
        case str() as scalar if scalar in _SCALARS:
            _scalar(result, place)
        case None if result.get(_PRESERVE):
            pass
        case None:
            raise place.refuse("has no type; use AnyJson for a field of any type")
        case other:
            raise place.refuse(f"the type {other!r} cannot be said here; use exactly one type")
    return _with_default(result, place)


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Any], place: _Place) -> Schema:
    """Write out references, and take `X or null` for X: an absent field is how Kubernetes says null."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        if name not in definitions:
            raise place.refuse(f"refers to {schema['$ref']}, which is not there")
        beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
        return _merged(_inlined(definitions[name], definitions, place), beside)
    if "anyOf" in schema:
        variants = [variant for variant in schema["anyOf"] if variant != {"type": "null"}]
        if len(variants) != 1:
            raise place.refuse(
                "`anyOf` several types cannot be said here; use one type, AnyJson, or several fields"
            )
        beside = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
        return _merged(_inlined(variants[0], definitions, place), beside)
    return dict(schema)


def _merged(inner: Schema, beside: Schema) -> Schema:
    """What stands beside a reference wins; rules add up, inner ones first."""
    rules = [*inner.get(_RULES, ()), *beside.get(_RULES, ())]
    merged = {**inner, **beside}
    return {**merged, _RULES: rules} if rules else merged


def _describe(result: Schema, place: _Place) -> None:
    text = " ".join(str(result.pop("description", "")).split())
    if text:
        result["description"] = text
        result.update({keyword: result.pop(keyword) for keyword in list(result) if keyword != "description"})
    elif not place.path.endswith(("[]", "{}")):
        raise place.refuse(
            "has no description; write a text below the attribute: `kubectl explain` prints it"
        )


def _object(result: Schema, flat: Schema, definitions: Mapping[str, Any], place: _Place) -> None:
    properties, additional = flat.get("properties"), flat.get("additionalProperties", False)
    if result.get(_PRESERVE):
        if properties:
            raise place.refuse("is free-form and has fields; unknown fields would escape every rule")
        return
    if properties:
        if additional is not False:
            raise place.refuse("has fields and takes unknown ones as well; choose one of both")
        if required := flat.get("required"):
            result["required"] = list(required)
        result["properties"] = {
            name: _field(field, definitions, place.child(name)) for name, field in properties.items()
        }
        return
    if not isinstance(additional, Mapping):
        raise place.refuse("is an object without fields; use FreeFormObject, or a map with a value type")
    if place.bounded and "maxProperties" not in result:
        raise place.refuse("is a map without a bound; give max_length")
    result["additionalProperties"] = _field(additional, definitions, place.child("{}"))


def _array(result: Schema, flat: Schema, definitions: Mapping[str, Any], place: _Place) -> None:
    if "items" not in flat:
        raise place.refuse("is a list without an item type")
    if place.bounded and "maxItems" not in result:
        raise place.refuse("is a list without a bound; give max_length")
    result["items"] = _field(flat["items"], definitions, _Place(f"{place.path}[]", place.bounded))
    if result["items"].get("type") == "object" and _LIST_TYPE not in result:
        raise place.refuse(f"is a list of objects without {_LIST_TYPE}; say map (with keys) or atomic")
    keys = result.get("x-kubernetes-list-map-keys", [])
    if result.get(_LIST_TYPE) == "map" and not (
        keys and set(keys) <= set(result["items"].get("required", ()))
    ):
        raise place.refuse("is a list map whose keys are not all required fields of its items")


def _scalar(result: Schema, place: _Place) -> None:
    if result["type"] == "integer":
        result.setdefault("format", "int32" if abs(result.get("maximum", 2**40)) < 2**31 else "int64")
    unbounded = not any(keyword in result for keyword in ("maxLength", "enum", "format"))
    if place.bounded and result["type"] == "string" and unbounded:
        raise place.refuse("is a string without a bound; give max_length")


def _with_default(result: Schema, place: _Place) -> Schema:
    """Keep a default that says something: null is absence, and an object's fields have their own."""
    if "default" not in result:
        return result
    default = result.pop("default")
    if not place.bounded or default is None:
        return result
    return {**result, "default": _without_nulls(default)}


def _without_nulls(default: Any) -> Any:
    """A default in full: the API server runs CEL on it before its fields get their own defaults."""
    if isinstance(default, dict):
        return {key: _without_nulls(value) for key, value in default.items() if value is not None}
    return default

"""The published schema and the reader of blueprints accept the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.strategies import dag_blueprints, json_values

from flowcraft.blueprint import Blueprint
from flowcraft.blueprint_schema import BlueprintForm, blueprint_schema, schema_text
from flowcraft.definition_reader import MAX_EDGES, MAX_NODES
from flowcraft.errors import BlueprintError

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "blueprint.schema.json"


def reads(document: Any) -> bool:
    try:
        Blueprint.from_dict(document)
    except BlueprintError:
        return False
    return True


def fits(document: Any) -> bool:
    try:
        BlueprintForm.model_validate_json(json.dumps(document))
    except ValidationError:
        return False
    return True


@given(dag_blueprints())
def test_every_blueprint_fits(blueprint: Blueprint) -> None:
    assert fits(blueprint.to_dict())


def odd(name: str, value: Any, part: str) -> dict[str, Any]:
    """A small blueprint in which one field has another value."""
    node: dict[str, Any] = {"id": "a", "uses": "a", "params": {}, "config": {"maxRetries": 2}}
    edge: dict[str, Any] = {"source": "a", "target": "a"}
    document: dict[str, Any] = {"id": "b", "nodes": [node], "edges": [edge], "metadata": {}}
    place = {"": document, "node": node, "edge": edge, "config": node["config"]}[part]
    place[name] = value
    return document


FIELDS = [
    *((name, "") for name in ("id", "nodes", "edges", "metadata")),
    *((name, "node") for name in ("id", "uses", "params", "inputs", "config", "free")),
    *((name, "edge") for name in ("source", "target", "action", "condition", "transform")),
    *((name, "config") for name in ("maxRetries", "retryDelay", "timeout", "fallback", "joinStrategy")),
]


@given(st.sampled_from(FIELDS), json_values(3) | st.sampled_from(["all", "any", 0, -1, 1.5, "a#1", "a[0]"]))
def test_what_the_reader_refuses_does_not_fit_and_the_other_way_round(
    field: tuple[str, str], value: Any
) -> None:
    name, part = field
    document = odd(name, value, part)
    text = isinstance(value, str)
    if text and (value != value.strip() or not value.isprintable() or len(value.encode()) > 250):
        return  # white space and bytes are more than a pattern says
    if name in {"uses", "inputs", "fallback", "action"} and value == "":
        return  # empty is nothing, for the reader
    if name == "maxRetries" and isinstance(value, float):
        return  # 2.0 is a whole number for both, but not for every validator
    assert reads(document) == fits(document), document


def test_the_limits_are_the_same() -> None:
    schema = blueprint_schema()
    assert schema["properties"]["nodes"]["maxItems"] == MAX_NODES
    (edges, _) = schema["properties"]["edges"]["anyOf"]
    assert edges["maxItems"] == MAX_EDGES


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == schema_text()


@pytest.mark.parametrize("name", ["$schema", "$id", "$defs", "title"])
def test_the_schema_says_what_it_is(name: str) -> None:
    assert blueprint_schema()[name]

"""The published schema accepts what the reader of blueprints, and of parameters the linter, does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from tests.unit.strategies import dag_blueprints, json_values

from flowcraft import App, lint, load_app
from flowcraft.blueprint import Blueprint
from flowcraft.blueprint_schema import blueprint_schema, schema_text
from flowcraft.definition_reader import MAX_EDGES, MAX_NODES
from flowcraft.errors import BlueprintError
from flowcraft.implementation import BUILT_IN_USES
from flowcraft.parameter_forms import PARAMS

REPOSITORY = Path(__file__).parents[2]
PUBLISHED = REPOSITORY / "docs" / "reference" / "blueprint.schema.json"
VALIDATOR = Draft202012Validator(json.loads(PUBLISHED.read_text()))


def reads(document: Any) -> bool:
    try:
        Blueprint.from_dict(document)
    except BlueprintError:
        return False
    return True


def fits(document: Any) -> bool:
    return VALIDATOR.is_valid(json.loads(json.dumps(document)))


@settings(max_examples=30)
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


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(blueprint_schema())


def test_every_kind_of_the_engine_has_the_form_of_its_parameters() -> None:
    assert set(PARAMS) == BUILT_IN_USES
    parts = blueprint_schema()["$defs"]
    for form in PARAMS.values():
        assert parts[form.__name__]["description"]
        for name, field in parts[form.__name__]["properties"].items():
            assert field["description"], name


def every_kind() -> Blueprint:
    """A flow that says all that the builder can say of the engine's kinds."""
    app = App("all")
    app.node("work")(lambda _ctx: None)
    flow = app.flow("all", version="1").wait("ask", params={"role": "chief"}).webhook("call")
    flow.sleep("nap", "1h30m").node("work")
    flow.subflow("sub", "child", version="2", inputs={"a": "work"}, outputs={"b": "c"})
    flow.batch(
        "each",
        "work",
        inputs="list",
        concurrency=3,
        on_error="skip",
        params={"size": 1},
        config={"retries": 2, "timeout_s": 5},
    )
    flow.loop("again", start="work", end="work", condition="work.more", max_iterations=7)
    return flow.to_blueprint()


def test_what_the_builder_writes_fits() -> None:
    assert {node.uses for node in every_kind().nodes} == BUILT_IN_USES | {"work"}
    assert best_match(VALIDATOR.iter_errors(every_kind().to_dict())) is None


def test_every_example_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    for folder in sorted(each for each in (REPOSITORY / "examples").iterdir() if each.is_dir()):
        module = "shop.flows" if (folder / "shop").is_dir() else "flows"
        with monkeypatch.context() as patched:
            patched.syspath_prepend(folder)
            patched.delitem(sys.modules, "flows", raising=False)
            app = load_app(f"{module}:app", search_path=folder)
            patched.delitem(sys.modules, "flows", raising=False)
        for blueprint in app.blueprints.values():
            looked_at.append(folder.name)
            assert best_match(VALIDATOR.iter_errors(blueprint.to_dict())) is None, blueprint.id
    assert len(set(looked_at)) >= 10


def with_params(uses: str, params: Any) -> dict[str, Any]:
    """A blueprint that is sound but for the parameters of its node ``it``."""
    nodes = [{"id": "it", "uses": uses, "params": params}, {"id": "then", "uses": "batch-gather"}]
    edges = [{"source": "it", "target": "then"}]
    if uses == "loop-controller":
        edges[0]["action"] = "break"
        edges.append({"source": "it", "target": "it", "action": "continue"})
    nodes.append({"id": "first", "uses": "work"})
    edges.append({"source": "first", "target": "it"})
    return {"id": "b", "nodes": nodes, "edges": edges}


SCATTER = {"workerUsesKey": "work", "gatherNodeId": "then"}


@pytest.mark.parametrize(
    ("uses", "params", "right"),
    [
        ("wait", None, True),
        ("wait", {"anything": [1]}, True),
        ("webhook", {"anything": [1]}, True),
        ("sleep", {"duration": "1h30m"}, True),
        ("sleep", {"duration": 1500}, True),
        ("sleep", None, False),
        ("sleep", {"seconds": 5}, False),
        ("sleep", {"duration": "5 minutes"}, False),
        ("sleep", {"duration": -1}, False),
        ("sleep", {"duration": 1e300}, False),
        ("sleep", {"duration": True}, False),
        ("subflow", {"blueprintId": "b", "inputs": {"a": "b"}, "outputs": {"a": "b"}}, True),
        ("subflow", {"blueprintId": "b", "blueprintVersion": None}, True),
        ("subflow", {"blueprint": "b"}, False),
        ("subflow", {"blueprintId": ""}, False),
        ("subflow", {"blueprintId": "b", "blueprintVersion": 1}, False),
        ("subflow", {"blueprintId": "b", "inputs": ["a"]}, False),
        ("subflow", {"blueprintId": "b", "outputs": {"a": ""}}, False),
        ("batch-scatter", SCATTER, True),
        ("batch-scatter", {**SCATTER, "concurrency": 4, "onError": "collect"}, True),
        ("batch-scatter", {"gatherNodeId": "then"}, False),
        ("batch-scatter", {"workerUsesKey": "work"}, False),
        ("batch-scatter", {**SCATTER, "onError": "ignore"}, False),
        ("batch-scatter", {**SCATTER, "concurrency": 0}, False),
        ("batch-scatter", {**SCATTER, "chunkSize": "10"}, False),
        ("batch-scatter", {**SCATTER, "params": [1]}, False),
        ("batch-scatter", {**SCATTER, "config": {"maxRetries": -1}}, False),
        ("batch-scatter", {**SCATTER, "config": {"timeout": 1e300}}, False),
        ("batch-gather", {"outputKey": "all"}, True),
        ("batch-gather", {"workerUsesKey": ""}, False),
        ("loop-controller", {"condition": "more"}, True),
        ("loop-controller", {"condition": "more", "maxIterations": 3}, True),
        ("loop-controller", {}, False),
        ("loop-controller", {"condition": " "}, False),
        ("loop-controller", {"condition": "a" * 2001}, False),
        ("loop-controller", {"condition": "more", "maxIterations": 0}, False),
        ("loop-controller", {"condition": "more", "maxIterations": "many"}, False),
        ("work", {"duration": "whatever"}, True),
    ],
)
def test_the_schema_refuses_the_parameters_that_the_linter_does(uses: str, params: Any, right: bool) -> None:
    document = with_params(uses, params)
    errors = [each for each in lint(Blueprint.from_dict(document)) if each.severity == "error"]
    assert fits(document) is right
    assert (not errors) is right, errors


def test_a_mistake_is_told_where_it_is() -> None:
    wrong = best_match(VALIDATOR.iter_errors(with_params("batch-scatter", {**SCATTER, "onError": "ignore"})))
    assert wrong is not None
    assert list(wrong.absolute_path) == ["nodes", 0, "params", "onError"]

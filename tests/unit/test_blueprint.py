"""Blueprints are read from upstream's JSON, written back the same, and refused in one clear sentence."""

from __future__ import annotations

import contextlib
import copy
import pickle
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from tests.unit.strategies import dag_blueprints, graph_blueprints, json_values

from flowcraft.blueprint import MAX_EDGES, MAX_NODES, Blueprint
from flowcraft.errors import BlueprintError

ORDER: dict[str, Any] = {
    "id": "order",
    "nodes": [
        {
            "id": "charge",
            "uses": "charge",
            "params": {"currency": "EUR"},
            "inputs": {"amount": "start.amount"},
            "config": {
                "maxRetries": 4,
                "retryDelay": 1500,
                "timeout": 30000,
                "fallback": "refund",
                "joinStrategy": "any",
                "circuitBreaker": {"after": 3},
            },
            "position": {"x": 1, "y": None},
        },
        {"id": "refund", "uses": "refund", "inputs": "charge"},
    ],
    "edges": [
        {
            "source": "charge",
            "target": "refund",
            "action": "no",
            "condition": "result.output",
            "transform": "input.a",
            "style": None,
        }
    ],
    "metadata": {"version": "1", "cycleEntryPoints": ["charge"], "owner": {"team": "shop"}},
    "ui": {"zoom": 2},
}


def with_node(**fields: Any) -> dict[str, Any]:
    return {"id": "b", "nodes": [{"id": "a", "uses": "a", **fields}], "edges": []}


def test_upstream_fields_are_read_with_units_made_seconds() -> None:
    blueprint = Blueprint.from_dict(ORDER)
    charge = blueprint.node("charge")
    assert blueprint.version == "1"
    assert charge.config.max_retries == 4
    assert charge.config.retry_delay_s == 1.5
    assert charge.config.timeout_s == 30
    assert charge.config.fallback == "refund"
    assert charge.config.join_strategy == "any"
    assert charge.inputs == {"amount": "start.amount"}
    assert blueprint.edges[0].transform == "input.a"


def test_json_is_written_back_as_it_was_read_unknown_fields_included() -> None:
    assert Blueprint.from_dict(ORDER).to_dict() == ORDER


@given(dag_blueprints() | graph_blueprints())
def test_every_blueprint_survives_the_round_trip(blueprint: Blueprint) -> None:
    again = Blueprint.from_json(blueprint.to_json())
    assert again == blueprint
    assert again.content_hash == blueprint.content_hash
    assert again.to_dict() == blueprint.to_dict()


@given(json_values())
def test_whatever_json_it_is_given_it_reads_it_or_refuses_it(document: Any) -> None:
    for candidate in (
        document,
        {"id": "x", "nodes": document},
        {"id": "x", "nodes": [document], "edges": document},
    ):
        with contextlib.suppress(BlueprintError):
            assert isinstance(Blueprint.from_dict(candidate), Blueprint)


def test_the_hash_is_of_the_content_not_of_the_order_of_its_fields() -> None:
    shuffled = orjson.loads(orjson.dumps(ORDER, option=orjson.OPT_SORT_KEYS))
    assert Blueprint.from_dict(shuffled).content_hash == Blueprint.from_dict(ORDER).content_hash
    assert Blueprint.from_dict(with_node()).content_hash != Blueprint.from_dict(ORDER).content_hash


def test_the_hash_is_the_same_from_a_store_that_keeps_whole_numbers_as_integers() -> None:
    def napping(seconds: float) -> str:
        node = {"id": "a", "uses": "a", "params": {"takes_s": seconds, "list": [seconds], "half": 0.5}}
        return Blueprint.from_dict({"id": "nap", "nodes": [node], "edges": []}).content_hash

    assert napping(3.0) == napping(3)
    assert napping(3.0) != napping(3.5)


def test_a_blueprint_is_a_value() -> None:
    blueprint = Blueprint.from_dict(ORDER)
    assert copy.deepcopy(blueprint) == blueprint
    assert pickle.loads(pickle.dumps(blueprint)) == blueprint  # noqa: S301  our own bytes
    assert {blueprint, Blueprint.from_dict(ORDER)} == {blueprint}
    assert blueprint.with_version("2").version == "2"
    assert blueprint.version == "1"


def test_reading_does_not_keep_hold_of_the_callers_objects() -> None:
    document = with_node(params={"a": 1}, config={"x": 1})
    blueprint = Blueprint.from_dict(document)
    document["nodes"][0]["params"]["a"] = 2
    document["nodes"][0]["config"]["x"] = 2
    assert blueprint.node("a").params == {"a": 1}
    assert blueprint.node("a").config.extra == {"x": 1}


def test_a_missing_edge_list_is_an_empty_one() -> None:
    assert Blueprint.from_dict({"id": "b", "nodes": []}).edges == ()


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "a blueprint is an object with id, nodes and edges, not a list"),
        ({"nodes": []}, "the blueprint: `id` must be a string that is not empty, not nothing"),
        ({"id": "b"}, "the blueprint: `nodes` must be a list, not nothing"),
        ({"id": "b", "nodes": {}}, "`nodes` must be a list, not an object"),
        ({"id": "b", "nodes": ["a"]}, "nodes[0]: must be an object, not a string ('a')"),
        ({"id": "b", "nodes": [{"uses": "a"}]}, "nodes[0]: `id` must be a string"),
        ({"id": "b", "nodes": [{"id": "a"}]}, "node a: `uses` must name the node's implementation"),
        ({"id": "b", "nodes": [{"id": "a#1", "uses": "a"}]}, "contains #, which mark rounds"),
        ({"id": "b", "nodes": [{"id": "a[1]", "uses": "a"}]}, "contains [ ], which mark rounds"),
        ({"id": "b", "nodes": [{"id": " a", "uses": "a"}]}, "has white space at an end"),
        ({"id": "b", "nodes": [{"id": "a\n", "uses": "a"}]}, "white space at an end or unprintable"),
        ({"id": "b", "nodes": [{"id": "é" * 128, "uses": "a"}]}, "is longer than 255 bytes"),
        ({"id": "b", "nodes": [{"id": "\ud800", "uses": "a"}]}, "half of a surrogate pair"),
        (
            {"id": "b", "nodes": [], "edges": [{"source": "a"}]},
            "edges[0]: an edge needs the ids of its nodes",
        ),
        (
            {"id": "b", "nodes": [], "metadata": {"version": 1}},
            'metadata.version must be a string such as "1"',
        ),
        ({"id": "b", "nodes": [], "metadata": []}, "`metadata` must be an object, not a list"),
        (with_node(params=[]), "node a: `params` must be an object, not a list"),
        (with_node(inputs=3), "node a: inputs must be a source such as"),
        (with_node(inputs={"a": 3}), "node a: inputs must be a source such as"),
        (
            with_node(config={"maxRetries": -1}),
            "node a: config: maxRetries must be a number of attempts, 0 or more",
        ),
        (with_node(config={"maxRetries": 1.5}), "maxRetries must be a whole number of attempts, not 1.5"),
        (with_node(config={"maxRetries": True}), "maxRetries must be a number of attempts"),
        (
            with_node(config={"retryDelay": "1s"}),
            "retryDelay must be a number of milliseconds, 0 or more, not '1s'",
        ),
        (with_node(config={"timeout": float("nan")}), "`.nodes[0].config.timeout` is nan"),
        (with_node(config={"joinStrategy": "some"}), "joinStrategy must be `all` or `any`, not 'some'"),
        (with_node(config={"fallback": 1}), "node a: config: `fallback` must be a string, not a number (1)"),
        (with_node(extra={1: 2}), "has the key 1, not a string"),
        ({"id": "b", "nodes": [None] * (MAX_NODES + 1)}, f"{MAX_NODES + 1} nodes are more than {MAX_NODES}"),
        ({"id": "b", "nodes": [], "edges": [None] * (MAX_EDGES + 1)}, "edges are more than"),
    ],
)
def test_a_wrong_shape_is_refused_with_its_place(document: Any, told: str) -> None:
    with pytest.raises(BlueprintError) as refused:
        Blueprint.from_dict(document)
    assert told in str(refused.value)


def test_ids_that_only_storage_must_escape_are_allowed() -> None:
    assert Blueprint.from_dict({"id": "b", "nodes": [{"id": "a/b\\c?d.e f", "uses": "a"}]}).node(
        "a/b\\c?d.e f"
    )


def test_a_blueprint_is_loaded_from_json_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_bytes(orjson.dumps(ORDER))
    (tmp_path / "order.yaml").write_text("id: order\nnodes:\n- {id: a, uses: a, config: {timeout: 500}}\n")
    assert Blueprint.load(tmp_path / "order.json") == Blueprint.from_dict(ORDER)
    assert Blueprint.load(str(tmp_path / "order.yaml")).node("a").config.timeout_s == 0.5


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "{", "a.json:1:2: it is not JSON: unexpected end of data"),
        ("a.yaml", "id: [", "a.yaml:2:1: it is not YAML: did not find expected node content"),
        ("a.yaml", "id: b\nnodes:\n- {id: a, uses: a, params: {day: 2026-01-31}}", "use .isoformat()"),
        ("a.yaml", "", "the file holds nothing; a blueprint is an object with id, nodes and edges"),
        ("a.yaml", "id: a\n---\nid: b\n", "the file holds 2 documents; a blueprint is an object"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BlueprintError) as refused:
        Blueprint.load(tmp_path / name)
    assert told in str(refused.value)
    assert str(tmp_path / name) in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlueprintError, match=r"nowhere\.json: No such file"):
        Blueprint.load(tmp_path / "nowhere.json")


def test_yaml_that_repeats_itself_by_reference_is_bounded(tmp_path: Path) -> None:
    bomb = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    (tmp_path / "bomb.yaml").write_text(bomb)
    with pytest.raises(BlueprintError, match="its aliases add more than 100000 values"):
        Blueprint.load(tmp_path / "bomb.yaml")


def test_yaml_that_contains_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "self.yaml").write_text("id: &a [*a]")
    with pytest.raises(BlueprintError, match="an alias contains itself"):
        Blueprint.load(tmp_path / "self.yaml")


@pytest.mark.parametrize(
    ("config", "field", "told"),
    [
        ({"maxRetries": 1e30}, "maxRetries", "is 1e+30 attempts, and the most is 2^53 - 1"),
        ({"retryDelay": 1e300}, "retryDelay", "is 1e+300 milliseconds, and the most is 100 years"),
        ({"timeout": 2**53 - 1}, "timeout", "is 9007199254740991 milliseconds, and the most is 100 years"),
        ({"timeout": -1}, "timeout", "must be a number of milliseconds, 0 or more, not -1"),
        ({"joinStrategy": "some"}, "joinStrategy", "must be `all` or `any`, not 'some'"),
    ],
)
def test_a_setting_that_no_run_could_live_with_is_refused_where_it_stands(
    config: dict[str, Any], field: str, told: str
) -> None:
    nodes = [{"id": "a", "uses": "a"}, {"id": "b", "uses": "b", "config": config}]
    with pytest.raises(BlueprintError) as refused:
        Blueprint.from_dict({"id": "x", "nodes": nodes})
    assert refused.value.path == ("nodes", 1, "config", field)
    assert f"node b: config: {field} {told}" in str(refused.value)


def test_whoever_means_for_ever_may_say_so() -> None:
    nodes = [{"id": "a", "uses": "a", "config": {"maxRetries": 2**53 - 1}}]
    assert Blueprint.from_dict({"id": "x", "nodes": nodes}).nodes[0].config.max_retries == 2**53 - 1

"""Apps: implementations by decoration, flows by building, blueprints by reading, and how an app is found."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowcraft import App, BaseNode, Blueprint, FlowRuntime, NodeContext, NodeResult, load_app
from flowcraft.blueprint import NodeConfig
from flowcraft.errors import AppError, BlueprintError
from flowcraft.implementation import RetryPolicy
from flowcraft.runtime import BlueprintCatalog


async def code(_ctx: NodeContext) -> None:
    return None


class Work(BaseNode):
    """A node as a class."""

    async def exec(self, prepared: Any, ctx: NodeContext) -> Any:
        return prepared


def shop() -> App:
    app = App("shop", dependencies={"db": "a database"})

    @app.node("charge", retries=3, retry_delay_s=1, timeout_s=30)
    async def charge(ctx: NodeContext) -> NodeResult:
        return NodeResult(output=ctx.input)

    @app.node
    def ship(ctx: NodeContext) -> Any:
        return ctx.input

    app.node()(Work)
    return app


def test_the_example_of_the_interfaces_gives_upstreams_json() -> None:
    app = shop()
    flow = app.flow("order", version="1")
    flow.node("charge").node("ship").node("Work", uses="Work")
    flow.edge("charge", "ship", action="approved").edge("charge", "Work", condition="result.output.paid == 0")
    assert flow.to_blueprint().to_dict() == {
        "id": "order",
        "nodes": [
            {
                "id": "charge",
                "uses": "charge",
                "config": {"maxRetries": 4, "retryDelay": 1000, "timeout": 30000},
            },
            {"id": "ship", "uses": "ship"},
            {"id": "Work", "uses": "Work"},
        ],
        "edges": [
            {"source": "charge", "target": "ship", "action": "approved"},
            {"source": "charge", "target": "Work", "condition": "result.output.paid == 0"},
        ],
        "metadata": {"version": "1"},
    }


def test_what_the_flow_says_wins_over_what_the_implementation_says() -> None:
    flow = shop().flow("order")
    flow.node(
        "first",
        uses="charge",
        params={"currency": "EUR"},
        inputs={"amount": "start.amount"},
        config={"retries": 0, "timeout_s": 5},
        fallback="ship",
        join="any",
    )
    assert flow.to_blueprint().to_dict()["nodes"] == [
        {
            "id": "first",
            "uses": "charge",
            "params": {"currency": "EUR"},
            "inputs": {"amount": "start.amount"},
            "config": {
                "maxRetries": 1,
                "retryDelay": 1000,
                "timeout": 5000,
                "fallback": "ship",
                "joinStrategy": "any",
            },
        }
    ]


def test_wait_and_sleep_are_upstreams_nodes() -> None:
    flow = App("a").flow("f").wait("approve", params={"who": "ada"}, join="any").sleep("pause", "10m")
    flow.sleep("nap", timedelta(minutes=90)).sleep("blink", timedelta(microseconds=1500))
    assert flow.to_blueprint().to_dict()["nodes"] == [
        {"id": "approve", "uses": "wait", "params": {"who": "ada"}, "config": {"joinStrategy": "any"}},
        {"id": "pause", "uses": "sleep", "params": {"duration": "10m"}},
        {"id": "nap", "uses": "sleep", "params": {"duration": "90m"}},
        {"id": "blink", "uses": "sleep", "params": {"duration": "2ms"}},
    ]


def test_a_flow_may_be_built_before_its_code_is_registered() -> None:
    app = App("a")
    flow = app.flow("f").node("late")
    assert flow.to_blueprint().node("late").config == NodeConfig()
    app.node("late", retries=1)(code)
    flow.node("other")
    assert flow.to_blueprint().node("late").config.max_retries == 2


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda flow: flow, "flow f: it has no nodes; add one with .node"),
        (lambda flow: flow.node("a").node("a"), "it has a node 'a' already"),
        (lambda flow: flow.node("a#1"), "contains #"),
        (lambda flow: flow.node("a", params={"x": {1, 2}}), "`.nodes[0].params.x` is a set, not JSON"),
        (lambda flow: flow.node("a", config={"retry": 1}), "node a: unknown setting 'retry'"),
        (lambda flow: flow.node("a", config={"retries": -1}), "node a: retries must be a whole number"),
        (
            lambda flow: flow.node("a", config={"timeout_s": "5s"}),
            "node a: timeout_s must be a number of seconds",
        ),
        (
            lambda flow: flow.node("a", retries=3),
            "node a: there is no option 'retries'; write config={'retries': …}",
        ),
        (
            lambda flow: flow.node("a", input="b"),
            "node a: there is no option 'input'; did you mean 'inputs'?",
        ),
        (
            lambda flow: flow.wait("a", when="b"),
            "node a: there is no option 'when'; there are params, inputs, join",
        ),
        (
            lambda flow: flow.webhook("a", parms={}),
            "node a: there is no option 'parms'; did you mean 'params'?",
        ),
        (
            lambda flow: flow.batch("a", "b", onError="skip"),
            "batch a: there is no option 'onError'; did you mean 'on_error'?",
        ),
        (
            lambda flow: flow.subflow("a", "b", timeout_s=3),
            "subflow a: there is no option 'timeout_s'; write config=",
        ),
        (lambda flow: flow.node("a", join="some"), "joinStrategy must be `all` or `any`"),
        (lambda flow: flow.sleep("s", "soon"), "node s: 'soon' is no duration"),
        (lambda flow: flow.sleep("s", 600), "a duration is text such as"),
    ],
)
def test_what_cannot_be_built_is_refused(build: Any, told: str) -> None:
    with pytest.raises((BlueprintError, AppError)) as refused:
        build(App("a").flow("f")).to_blueprint()
    assert told in str(refused.value)


def test_what_the_callers_objects_become_later_does_not_change_the_flow() -> None:
    params = {"list": [1]}
    blueprint = App("a").flow("f").node("n", params=params).to_blueprint()
    params["list"].append(2)
    assert blueprint.node("n").params == {"list": [1]}


def test_blueprints_are_found_by_id_and_version() -> None:
    app = App("a")
    app.flow("f", version="1").node("one")
    app.flow("f", version="2").node("two")
    app.add_blueprint({"id": "json", "nodes": [{"id": "a", "uses": "a"}]})
    blueprints = app.blueprints
    assert set(blueprints) == {"f", "json"}
    assert blueprints["f"].version == "2"
    found = blueprints.find("f", "1")
    assert found is not None
    assert found.node_ids == {"one"}
    assert blueprints.find("f") is not None
    assert blueprints.find("f", "3") is blueprints.find("nobody") is None
    assert blueprints.versions("f") == ("1", "2")


def test_a_blueprint_is_added_as_text_path_value_or_dict(tmp_path: Path) -> None:
    document = {"id": "x", "nodes": [{"id": "a", "uses": "a"}], "edges": []}
    value = Blueprint.from_dict(document)
    (tmp_path / "x.json").write_text(value.to_json())
    for source in (document, value, value.to_json(), tmp_path / "x.json", str(tmp_path / "x.json")):
        app = App("a")
        assert app.add_blueprint(source) == value
        assert app.blueprints["x"] == value


def test_two_different_blueprints_cannot_share_a_version() -> None:
    app = App("a")
    app.flow("f", version="1").node("one")
    with pytest.raises(AppError, match="flow 'f' version 1 exists already"):
        app.flow("f", version="1")
    catalog = BlueprintCatalog([Blueprint.from_dict({"id": "f", "nodes": []})])
    catalog.add(Blueprint.from_dict({"id": "f", "nodes": []}))
    with pytest.raises(AppError, match="two different blueprints are 'f' without version"):
        catalog.add(Blueprint.from_dict({"id": "f", "nodes": [{"id": "a", "uses": "a"}]}))


def test_kinds_of_code_are_told_apart() -> None:
    app = shop()

    class Callable:
        async def __call__(self, ctx: NodeContext) -> None:
            return None

    app.node("partial")(functools.partial(code))
    app.node("object")(Callable())
    app.node("lambda")(lambda _ctx: None)
    kinds = {name: implementation.kind for name, implementation in app.registry.items()}
    assert kinds == {
        "charge": "async",
        "ship": "sync",
        "Work": "class",
        "partial": "async",
        "object": "async",
        "lambda": "sync",
    }
    assert app.registry.implements("wait")
    assert not app.registry.implements("nobody")


class Abstract(BaseNode):
    """Lacks ``exec``."""


async def yielding(_ctx: NodeContext) -> Any:
    yield 1


@pytest.mark.parametrize(
    ("name", "candidate", "told"),
    [
        ("a", 5, "is neither a function nor a BaseNode class"),
        ("a", dict, "must be a subclass of flowcraft.BaseNode"),
        ("a", Abstract, "lacks an `exec` method"),
        ("a", lambda: None, "must take one argument, the node context"),
        ("a", lambda _a, _b: None, "must take one argument, the node context"),
        ("a", yielding, "a generator cannot be a node"),
        ("wait", code, "is a node kind of the engine"),
        ("batch-scatter", code, "is a node kind of the engine"),
    ],
)
def test_what_cannot_be_a_node_is_refused(name: str, candidate: Any, told: str) -> None:
    with pytest.raises(AppError) as refused:
        App("a").node(name)(candidate)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "settings", [{"retries": 1.5}, {"retry_delay_s": -1}, {"timeout_s": True}, {"attempts": 3}]
)
def test_wrong_settings_are_refused_where_the_code_is_registered(settings: Any) -> None:
    with pytest.raises(AppError, match="node 'code': "):
        App("a").node(**settings)(code)


def test_a_name_is_registered_once() -> None:
    app = App("a")
    app.node("n")(code)
    app.node("n")(code)
    with pytest.raises(AppError, match="'n' is registered twice"):
        app.node("n")(lambda _ctx: None)


def test_a_policy_is_the_blueprints_word_then_the_authors_then_the_default() -> None:
    registry = shop().registry
    assert registry["charge"].policy(NodeConfig()) == RetryPolicy(4, 1, timeout_s=30)
    assert registry["charge"].policy(NodeConfig(2, 0.5, 1)) == RetryPolicy(2, 0.5, timeout_s=1)
    assert registry["ship"].policy(NodeConfig()) == RetryPolicy()
    assert registry["ship"].policy(NodeConfig(max_retries=0)).max_attempts == 1
    assert registry["ship"].policy(NodeConfig(retry_delay_s=900)).max_retry_delay_s == 900


def test_the_seeds_runtime_takes_json_and_plain_code() -> None:
    document = {"id": "order", "nodes": [{"id": "a", "uses": "code"}], "edges": []}
    options = FlowRuntime(blueprints={"order": document}, registry={"code": code, "Work": Work}).options
    assert options.blueprints["order"].node("a").uses == "code"
    assert options.registry["Work"].kind == "class"
    assert FlowRuntime(blueprints=[document]).options.blueprints["order"]
    with pytest.raises(AppError, match="under 'other' has the id 'order'"):
        FlowRuntime(blueprints={"other": document})
    with pytest.raises(AppError, match="neither a function"):
        FlowRuntime(registry={"code": "text"})


def test_an_apps_options_are_a_runtimes_options() -> None:
    app = shop()
    app.flow("f").node("charge")
    assert app.options.name == "shop"
    assert app.options.dependencies == {"db": "a database"}
    assert set(app.options.blueprints) == {"f"}


FLOWS = """
from flowcraft import App
app = App("found")
other = 5
class Box:
    app = app
"""


@pytest.fixture
def apps(tmp_path: Path) -> Iterator[Path]:
    package = tmp_path / "load_app_example"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "flows.py").write_text(FLOWS)
    (package / "broken.py").write_text("import no_such_library_anywhere\n")
    (package / "failing.py").write_text("raise ValueError('no settings')\n")
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("load_app_example")]:
        del sys.modules[name]


def test_an_app_is_found_by_module_and_attribute(apps: Path) -> None:
    assert load_app("load_app_example.flows:app", search_path=apps).name == "found"
    assert load_app("load_app_example.flows:Box.app", search_path=apps).name == "found"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("load_app_example.flows", "names no app; write module.path:attribute"),
        (":app", "names no app"),
        ("a/b.py:app", "names no app"),
        ("no_such_module:app", "there is no module 'no_such_module'; install it, or run from the folder"),
        ("load_app_example.nowhere:app", "there is no module 'load_app_example.nowhere'"),
        ("flows.py:app", "'flows.py:app' names a file, not a module; write flows:app"),
        ("load_app_example.flows:nothing", "has no attribute 'nothing'"),
        ("load_app_example.flows:other", "is a int, not a flowcraft.App"),
        ("load_app_example.broken:app", "cannot be imported: No module named 'no_such_library_anywhere'"),
        ("load_app_example.failing:app", "cannot be imported: ValueError: no settings"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_told_why(apps: Path, spec: str, told: str) -> None:
    with pytest.raises(AppError) as refused:
        load_app(spec, search_path=apps)
    assert told in str(refused.value)

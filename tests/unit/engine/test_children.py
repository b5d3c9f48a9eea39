"""Children of a node key: their keys, their lanes, when their owner goes on, and what is gathered of them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft import Blueprint, BlueprintError, InputError, NodeDefinition, NodeResult, OutputError
from flowcraft.engine.children import MAX_DEPTH, Children, derive, gathered, names_of, owner_of, seq_after
from flowcraft.engine.inputs import Facts, Needs
from flowcraft.engine.keys import NodeKey
from flowcraft.engine.making import Owned, Settings, made_by, read_dynamic_nodes, scattered
from flowcraft.engine.plan import Plan
from flowcraft.engine.resolution import Join, join_state
from flowcraft.evaluator import ExpressionEvaluator
from flowcraft.records import NodeRecord

IDS = st.text("ab/%.", min_size=1, max_size=4)
OWNERS = st.sampled_from(["make", "make#2.1", "make[3]", "make#4[x/y]"])


def owner(children: Children, status: str = "awaiting", seq: int = 1) -> NodeRecord:
    return NodeRecord(
        children.owner, NodeKey.parse(children.owner).node, status,  # type: ignore[arg-type]
        kind="children" if status == "awaiting" else None, children=children.to_document(), seq=seq,
    )  # fmt: skip


def completed(key: str, output: Any = None, error: dict[str, str] | None = None) -> NodeRecord:
    return NodeRecord(key, NodeKey.parse(key).node, "completed", output=output, error=error)


@st.composite
def children(draw: st.DrawFn) -> Children:
    names = draw(st.none() | st.lists(IDS, min_size=1, max_size=8, unique=True))
    count = draw(st.integers(1, 12)) if names is None else len(names)
    return Children(draw(OWNERS), count, draw(st.integers(1, 14)), None if names is None else names_of(names))


@given(children())
def test_a_key_tells_owner_and_place(family: Children) -> None:
    keys = list(family.keys())
    assert len(set(keys)) == family.count
    for place, key in enumerate(keys):
        assert (owner_of(key), family.place(key)) == (family.owner, place)
        assert str(NodeKey.parse(key)) == key
        assert NodeKey.parse(key).node == "make"


@given(children())
def test_the_owners_record_tells_of_its_children(family: Children) -> None:
    assert Children.of(NodeRecord.from_document(owner(family).to_document())) == family


def test_a_key_of_no_child_has_no_owner_and_no_place() -> None:
    assert owner_of("make") is None
    assert owner_of("make#2") is None
    for key in ("make", "make[2]", "make[01]", "make[x]", "make[0/1]", "other[0]"):
        with pytest.raises(KeyError):
            Children("make", 2).place(key)


@given(children(), st.randoms(use_true_random=False))
def test_lanes_run_every_child_once_and_the_join_fires_last(family: Children, rng: random.Random) -> None:
    """Whoever resolves a child follows what is said of it; all records together always say the same."""
    records = {family.owner: owner(family)}
    ready = list(family.first())
    began = set(ready)
    arrived: dict[str, bool] = {}
    while ready:
        assert len(ready) <= family.lanes
        assert set(derive(records).ready) == set(ready)
        assert derive(records).woken == ()
        key = ready.pop(rng.randrange(len(ready)))
        records[key] = completed(key)
        wave = family.follow(key)
        assert began.isdisjoint(wave.ready)
        began.update(wave.ready)
        ready += wave.ready
        (join,) = wave.joins
        arrived.update(join.states)
        state = join_state(arrived, join.expected, any_join=join.any_join)
        assert state is (Join.OPEN if ready else Join.READY)
    assert began == set(family.keys())
    assert family.arrived(records) == arrived
    told = derive(records)
    assert (told.woken, told.resolved, told.total) == ((family.owner,), family.count, family.count)


def test_an_owner_that_goes_on_is_not_woken_again_and_its_children_still_count() -> None:
    family = Children("make", 3)
    records = {"make": owner(family, "completed")} | {key: completed(key) for key in family.keys()}  # noqa: SIM118
    told = derive(records)
    assert (told.woken, told.ready, told.owners, told.resolved, told.total) == ((), (), frozenset(), 3, 3)


def test_what_a_childs_own_children_await_is_derived_too() -> None:
    outer, inner = Children("make", 2), Children("make[0]", 2)
    records = {"make": owner(outer), "make[0]": owner(inner), "make[1]": completed("make[1]")}
    assert derive(records).ready == ("make[0/0]", "make[0/1]")
    records |= {key: completed(key) for key in inner.keys()}  # noqa: SIM118
    told = derive(records)
    assert (told.woken, told.waiting) == (("make[0]",), ())
    assert told.owners == {"make", "make[0]"}


def test_a_failed_child_is_told_and_a_waiting_one_is_no_owner() -> None:
    records = {
        "make": owner(Children("make", 2)),
        "make[0]": NodeRecord("make[0]", "make", "failed"),
        "make[1]": NodeRecord("make[1]", "make", "awaiting", kind="sleep"),
    }
    told = derive(records)
    assert (told.failed, told.waiting, told.woken) == (("make[0]",), ("make[1]",), ())
    assert Children("make", 2).arrived(records) == {}


def test_an_owner_completes_after_all_below_it_and_before_its_own_owner() -> None:
    outer = owner(Children("make", 1), seq=7)
    inner = owner(Children("make[0]", 1), seq=outer.seq + 1)
    assert inner.seq + 1 < seq_after(inner) < seq_after(outer)


@pytest.mark.parametrize(
    ("on_error", "found"), [("skip", [1, None, 4]), ("collect", [1, {"error": {"type": "E"}}, None, 4])]
)
def test_what_is_gathered_of_failed_children(on_error: Any, found: list[Any]) -> None:
    family = Children("make", 4, on_error=on_error)
    outputs = [(1, None), (None, {"type": "E"}), (None, None), (4, None)]
    records = {
        key: completed(key, output, error)
        for key, (output, error) in zip(family.keys(), outputs, strict=True)
    }
    assert gathered(family, records) == found


# ---- what they are made of ----

PLAN = Plan.of(Blueprint("p", (NodeDefinition("scatter", "batch-scatter"), NodeDefinition("make", "make"))))
FACTS = Facts({}, {"key": 7}, {"amount": 1})
SCATTER = {"workerUsesKey": "resize", "gatherNodeId": "gather"}


def scatter(**params: Any) -> NodeDefinition:
    return NodeDefinition("scatter", "batch-scatter", SCATTER | params)


def test_a_batch_is_made_of_the_items_of_its_input() -> None:
    definition = scatter(concurrency=2, config={"maxRetries": 3}, onError="collect")
    made = scattered("scatter", definition, [{"n": 1}, 2, None])
    assert made is not None
    assert made.children == Children("scatter", 3, 2, on_error="collect")
    record = NodeRecord(
        "scatter", "scatter", "awaiting", output=made.material, children=made.children.to_document(), seq=4
    )
    owned = Owned.of(record)
    assert [owned.input(PLAN, key, FACTS) for key in made.children.keys()] == [{"n": 1}, 2, None]  # noqa: SIM118
    assert owned.seq == 5
    worker = owned.node("scatter[2]").definition
    assert (worker.uses, worker.config.max_retries) == ("resize", 3)
    assert owned.result == NodeResult({"gatherNodeId": "gather", "hasMore": False})


@pytest.mark.parametrize("value", [[], None])
def test_a_batch_over_nothing_has_no_children(value: Any) -> None:
    assert scattered("scatter", scatter(), value) is None


@pytest.mark.parametrize("value", [{"a": 1}, "text", 3, False, 0])
def test_a_batch_over_anything_but_a_list_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="the input of batch scatter must be a list of items, not"):
        scattered("scatter", scatter(), value)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"workerUsesKey": None}, "`params.workerUsesKey` must name the implementation"),
        ({"gatherNodeId": ""}, "`params.gatherNodeId` must name the node"),
        ({"chunkSize": 0}, "`params.chunkSize` must be a whole number from 1 on, not 0"),
        ({"concurrency": True}, "`params.concurrency` must be a whole number from 1 on, not True"),
        ({"concurrency": 2.5}, "`params.concurrency` must be a whole number"),
        ({"onError": "ignore"}, "`params.onError` is fail, skip or collect, not 'ignore'"),
        ({"params": [1]}, "`params.params` must be an object, not a list"),
        ({"config": {"maxRetries": -1}}, "`params.config`: maxRetries must be a number of attempts"),
    ],
)
def test_parameters_of_a_batch_that_cannot_be_are_told(params: dict[str, Any], told: str) -> None:
    with pytest.raises(BlueprintError, match=told.replace("`", ".")):
        Settings.of(SCATTER | params)


def test_upstreams_chunk_size_bounds_how_many_run_at_a_time() -> None:
    assert Settings.of(SCATTER | {"chunkSize": 7}).lanes == 7
    assert Settings.of(SCATTER | {"chunkSize": 7, "concurrency": 3}).lanes == 3
    assert Settings.of(SCATTER).lanes == 1000


def test_nodes_that_a_node_gave_back_become_its_children() -> None:
    nodes = read_dynamic_nodes([{"id": "a/b", "uses": "x"}, NodeDefinition("c", "y", {"n": 1}, "key")])
    made = made_by("make", NodeResult({"ok": 1}, "go", dynamic_nodes=nodes), {"x", "y"}.__contains__)
    assert list(made.children.keys()) == ["make[a%2Fb]", "make[c]"]
    record = NodeRecord(
        "make", "make", "awaiting", action=made.action, output=made.material,
        children=made.children.to_document(),
    )  # fmt: skip
    owned = Owned.of(record)
    assert owned.node("make[c]").definition == nodes[1]
    assert owned.needs(PLAN, "make[c]", ExpressionEvaluator()) == Needs(frozenset(), frozenset({"key"}))
    assert owned.input(PLAN, "make[c]", FACTS) == 7
    assert owned.input(PLAN, "make[a%2Fb]", FACTS) is None
    assert owned.result == NodeResult({"ok": 1}, "go")


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ({"id": "a", "uses": "x"}, "must be a list of nodes, not an object"),
        ([1], r"dynamic_nodes\[0\] must be a node, not a number"),
        ([{"id": "a"}], "must name the node's implementation"),
        ([{"id": "a[1]", "uses": "x"}], "mark rounds and children"),
        (
            [{"id": "a", "uses": "x"}, {"id": "a", "uses": "x"}],
            r"dynamic_nodes\[1\] has the id 'a' of another",
        ),
        ([{"id": "a", "uses": "x", "params": {"at": object()}}], r"dynamic_nodes\[0\] cannot be stored"),
    ],
)
def test_dynamic_nodes_that_are_none_are_refused(nodes: Any, told: str) -> None:
    with pytest.raises(OutputError, match=told):
        read_dynamic_nodes(nodes)


def test_nodes_that_make_themselves_again_come_to_an_end() -> None:
    result = NodeResult(dynamic_nodes=(NodeDefinition("a", "x"),))
    key = "make"
    for _ in range(MAX_DEPTH):
        key = made_by(key, result, bool).children.key(0)
    with pytest.raises(OutputError, match="deeper than 8"):
        made_by(key, result, bool)


def test_a_node_without_code_is_not_made() -> None:
    result = NodeResult(dynamic_nodes=(NodeDefinition("a", "nowhere"),))
    with pytest.raises(OutputError, match="dynamic node a uses 'nowhere', which is not registered"):
        made_by("make", result, lambda uses: uses == "x")


@given(children(), st.data())
def test_an_owner_that_signals_again_makes_up_for_every_arrival(
    family: Children, data: st.DataObject
) -> None:
    done = {key: completed(key) for key in family.keys() if data.draw(st.booleans())}  # noqa: SIM118
    ready = derive({family.owner: owner(family), **done}).ready
    wave = family.recover(done, ready)
    states = {name: taken for join in wave.joins for name, taken in join.states.items()}
    assert (wave.ready, states) == (ready, family.arrived(done))
    assert all(join.edge not in states for join in wave.joins)

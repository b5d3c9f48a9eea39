"""What the context means: outputs of nodes, keys over fields of the run's input, and keys that are gone."""

from __future__ import annotations

from typing import Any

from tests.parity.conftest import Both
from tests.parity.test_rules import edge

READS = {"output": "reads"}


def test_keys_named_as_nodes(both: Both) -> None:
    nodes: dict[str, Any] = {
        "n0": {"set": {"n1": "written", "n2": "written"}},
        "n1": {},
        "n2": {"delete": ["n2"]},
        "n3": {**READS, "reads": ["n1", "_outputs.n1", "n2", "_outputs.n2"]},
    }
    ours, theirs = both(nodes, edge("n0", "n1"), edge("n1", "n2"), edge("n2", "n3"))
    assert theirs.outputs["n3"] == {"n1": "n1", "_outputs.n1": "n1", "n2": "n2", "_outputs.n2": "n2"}
    assert ours.outputs["n3"] == {"n1": "written", "_outputs.n1": "n1", "n2": None, "_outputs.n2": "n2"}


def test_the_context_has_the_outputs_of_nodes(both: Both) -> None:
    nodes: dict[str, Any] = {
        "n0": {"output": {"value": {"a": 1}}},
        "n1": {"action": "no"},
        "n2": {},
        "n3": {**READS, "reads": ["n0", "_outputs.n0", "n1", "n2", "_outputs.n2", "n4", "amount", "nowhere"]},
        "n4": {},
    }
    edges = [edge("n0", "n1"), edge("n1", "n2", action="yes"), edge("n1", "n3"), edge("n3", "n4")]
    ours, theirs = both(nodes, *edges, given={"amount": 7})
    assert ours.outputs["n3"] == theirs.outputs["n3"]
    assert ours.outputs["n3"] == {
        "n0": {"a": 1}, "_outputs.n0": {"a": 1}, "n1": "n1", "n2": None, "_outputs.n2": None,
        "n4": None, "amount": 7, "nowhere": None,
    }  # fmt: skip


def test_a_deleted_field_of_the_input_stays_deleted_wherever_it_is_read(both: Both) -> None:
    nodes: dict[str, Any] = {
        "n0": {"set": {"amount": 8}},
        "n1": {"delete": ["amount", "other"]},
        "n2": {**READS, "reads": ["amount", "other", "third"]},
        "n3": {"inputs": {"amount": "amount", "third": "third"}, "output": "input"},
        "n4": {},
        "n5": {"output": "input"},
        "n6": {"set": {"other": "again"}},
        "n7": {"inputs": "other", "output": "input"},
    }
    edges = [
        edge("n0", "n1"),
        edge("n1", "n2"),
        edge("n1", "n3"),
        edge("n1", "n4", condition="amount"),
        edge("n1", "n5", transform="context.amount"),
        edge("n3", "n6"),
        edge("n6", "n7"),
    ]
    ours, theirs = both(nodes, *edges, given={"amount": 7, "other": 1, "third": 3})
    assert ours.outputs == theirs.outputs
    assert ours.outputs["n2"] == {"amount": None, "other": None, "third": 3}
    assert "n4" not in ours.calls
    assert ours.calls["n5"] == [None]
    assert ours.calls["n7"] == ["again"]
    assert ours.keys == theirs.keys == {"third": 3, "other": "again"}


def test_a_users_type_key_is_a_key_like_others(both: Both) -> None:
    document = {"$type": "decimal", "value": "x", "deep": [{"$$type": 1}]}
    nodes: dict[str, Any] = {
        "n0": {"inputs": "document", "output": "input"},
        "n1": {"output": "input"},
        "n2": {"inputs": "amount", "output": "input"},
        "n3": {"inputs": "$type", "output": "input"},
    }
    edges = [edge("n0", "n1"), edge("n0", "n2", condition="result.output.value"), edge("n2", "n3")]
    ours, theirs = both(nodes, *edges, given={"document": document, "amount": 7})
    assert ours.calls == theirs.calls
    assert ours.calls["n1"] == [document]

"""Each rule of ``docs/parity.md``: what the original does, and what we do instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.parity import rules
from tests.parity.outcome import Outcome

Both = Callable[..., tuple[Outcome, Outcome]]


def edge(source: str, target: str, **more: str) -> dict[str, Any]:
    return {"source": source, "target": target, **more}


ECHO: dict[str, Any] = {"output": "input"}
ANY = {"config": {"joinStrategy": "any"}}


def test_dead_path(both: Both) -> None:
    edges = [
        edge("n0", "n1", action="no"),
        edge("n0", "n2"),
        edge("n1", "n3"),
        edge("n2", "n3"),
        edge("n3", "n4"),
    ]
    ours, theirs = both({"n0": {}, "n1": {}, "n2": {}, "n3": {}, "n4": {}}, *edges)
    assert theirs.status == ours.status == "completed"
    assert not theirs.calls.keys() & {"n1", "n3", "n4"}  # the join waits for a branch that is never taken
    assert ours.calls.keys() == {"n0", "n2", "n3", "n4"}


def test_unmatched_action(both: Both) -> None:
    edges = [edge("n0", "n1", action="yes"), edge("n0", "n2", action="no")]
    ours, theirs = both({"n0": {"action": "maybe"}, "n1": {}, "n2": {}}, *edges)
    assert theirs.calls.keys() == {"n0", "n1", "n2"}  # no edge is taken, and both its targets run
    assert ours.calls.keys() == {"n0"}


def test_any_join_once(both: Both) -> None:
    edges = [edge("n0", "n1"), edge("n0", "n2"), edge("n1", "n3"), edge("n2", "n4"), edge("n4", "n3")]
    ours, theirs = both({"n0": {}, "n1": {}, "n2": {}, "n3": {**ANY}, "n4": {}}, *edges)
    assert len(theirs.calls["n3"]) == 2
    assert len(ours.calls["n3"]) == 1


def test_join_input(both: Both) -> None:
    edges = [edge("n0", "n1"), edge("n0", "n2"), edge("n1", "n3"), edge("n2", "n3", transform="input")]
    ours, theirs = both({"n0": {}, "n1": {}, "n2": {}, "n3": ECHO}, *edges)
    assert len(theirs.calls["n3"]) == 1
    assert theirs.calls["n3"][0] in ("n1", "n2")  # whichever was written last
    assert ours.calls["n3"] == [{"n1": "n1", "n2": "n2"}]


def test_inputs_win(both: Both) -> None:
    nodes = {"n0": {"output": {"value": {"ok": 1}}}, "n1": {"inputs": {"all": "n0"}}}
    ours, theirs = both(nodes, edge("n0", "n1", transform="input.ok"))
    assert theirs.calls["n1"] == [1]  # the transform takes the place of the inputs
    assert ours.calls["n1"] == [{"all": {"ok": 1}}]


def test_start_input(both: Both) -> None:
    ours, theirs = both({"n0": ECHO}, given={"amount": 1})
    assert theirs.calls["n0"] == [None]
    assert ours.calls["n0"] == [{"amount": 1}]


def test_fallback_stands_in(both: Both) -> None:
    nodes = {
        "n0": {},
        "n1": {"fails": 1, "config": {"fallback": "f1"}},
        "n2": {"inputs": "n1"},
        "f1": ECHO,
    }
    ours, theirs = both(nodes, edge("n0", "n1"), edge("n1", "n2"))
    assert theirs.calls == {"n0": [None], "n1": ["n0"], "f1": [None], "n2": [None]}
    assert (theirs.outputs["n1"], theirs.outputs["f1"]) == (None, None)
    assert ours.calls == {"n0": [{}], "n1": ["n0"], "f1": ["n0"], "n2": ["n0"]}
    assert ours.outputs["n1"] == "n0"
    assert "f1" not in ours.outputs


def test_fallback_stands_in_before_a_join(both: Both) -> None:
    nodes = {"n0": {}, "n1": {"fails": 1, "config": {"fallback": "f1"}}, "n2": {**ANY}, "f1": {}}
    ours, theirs = both(nodes, edge("n1", "n2"))
    assert "n2" not in theirs.calls  # an any-join does not know the fallback as its predecessor
    assert ours.calls["n2"] == ["f1"]


def test_fallback_stands_in_for_each_of_several_nodes(both: Both) -> None:
    fails = {"fails": 1, "config": {"fallback": "f1"}}
    nodes = {"n0": {}, "n1": fails, "n2": fails, "n3": {}, "n4": {}, "f1": {}}
    edges = [edge("n0", "n1"), edge("n0", "n2"), edge("n1", "n3"), edge("n2", "n4")]
    ours, theirs = both(nodes, *edges)
    assert theirs.calls["f1"] == [None]  # once for both
    assert ours.calls["f1"] == ["n0", "n0"]
    assert ours.calls.keys() == set(nodes)


def test_fallback_stands_in_as_the_last_attempt(both: Both) -> None:
    nodes = {
        "n0": {"fails": 2, "config": {"maxRetries": 2, "fallback": "f0"}},
        "f0": {"fails": 1, "config": {"maxRetries": 2}},
    }
    ours, theirs = both(nodes)
    assert (theirs.status, len(theirs.calls["f0"])) == ("completed", 2)
    assert (ours.status, len(ours.calls["f0"])) == ("failed", 1)


def test_fallback_status(both: Both) -> None:
    nodes = {"n0": {"fails": 1, "config": {"fallback": "f0"}}, "f0": {"fails": 1}, "n1": {}}
    ours, theirs = both(nodes, edge("n0", "n1"))
    assert (theirs.status, theirs.failed) == ("completed", ("f0",))  # because some fallback was called
    assert (ours.status, ours.failed) == ("failed", ("n0",))


def test_fail_fast(both: Both) -> None:
    nodes = {"n0": {"fails": 1}, "n1": {"config": {"joinStrategy": "any"}}, "n2": {}, "n3": {}}
    ours, theirs = both(nodes, edge("n0", "n1"), edge("n2", "n3"), edge("n3", "n1"))
    assert theirs.calls.keys() == {"n0", "n1", "n2", "n3"}  # the other branch runs to its end
    assert ours.status == theirs.status == "failed"
    assert "n1" not in ours.calls


def test_writes_of_failed_attempts(both: Both) -> None:
    nodes = {
        "n0": {"early": {"k": 1}, "fails": 1, "config": {"fallback": "f0"}},
        "f0": {},
        "n1": {"inputs": "k"},
    }
    ours, theirs = both(nodes, edge("n0", "n1"))
    assert theirs.calls["n1"] == [1]
    assert ours.calls["n1"] == [None]


def test_no_attempts(both: Both) -> None:
    ours, theirs = both({"n0": {"config": {"maxRetries": 0}}})
    assert (theirs.status, dict(theirs.calls)) == ("failed", {})
    assert (ours.status, ours.calls) == ("completed", {"n0": [{}]})


def test_nothing_returned(both: Both) -> None:
    edges = [edge("n0", "n1"), edge("n0", "n2", condition="result.output"), edge("n1", "n3")]
    nodes = {"n0": {"output": "nothing"}, "n1": ECHO, "n2": {}, "n3": {}}
    ours, theirs = both(nodes, *edges)
    assert "n0" not in theirs.outputs
    assert theirs.calls == {"n0": [None], "n1": [None], "n3": [None]}
    assert ours.outputs["n0"] is None
    assert ours.calls == {"n0": [{}], "n1": [None], "n3": [None]}


@pytest.mark.parametrize(
    ("condition", "there", "here"),
    [
        ("result.output.n == 3", False, True),
        ("true", False, True),
        ("_outputs.n0.n", False, True),
        ("context.n0.n", False, True),
        ("input.amount", False, True),
        ("result.output.toString", True, False),
        ("result.output.constructor", True, False),
    ],
)
def test_expressions(both: Both, condition: str, there: bool, here: bool) -> None:
    nodes = {"n0": {"output": {"value": {"n": 3}}}, "n1": {}}
    ours, theirs = both(nodes, edge("n0", "n1", condition=condition), given={"amount": 1})
    assert ("n1" in theirs.calls, "n1" in ours.calls) == (there, here)


def test_text_units(both: Both) -> None:
    nodes = {"n0": {"output": {"value": "😀"}}, "n1": ECHO}
    ours, theirs = both(nodes, edge("n0", "n1", transform="input.length"))
    assert theirs.calls["n1"] == [2]  # UTF-16 code units
    assert ours.calls["n1"] == [1]


def test_dotted_inputs(both: Both) -> None:
    nodes = {"n0": {"output": {"value": {"a": {"b": 1}}}}, "n1": {"inputs": "n0.a.b"}}
    ours, theirs = both(nodes, edge("n0", "n1"))
    assert theirs.calls["n1"] == [None]
    assert ours.calls["n1"] == [1]


def test_names_of_nodes(both: Both) -> None:
    nodes = {"n0": {}, "n1": {}, "n2": {"inputs": "n1"}}
    edges = [edge("n0", "n1", action="never"), edge("n0", "n2")]
    ours, theirs = both(nodes, *edges, given={"n1": "of the input"})
    assert theirs.calls["n2"] == ["of the input"]  # as long as the node has no output
    assert ours.calls["n2"] == [None]


def test_every_rule_is_documented_with_tests_that_exist() -> None:
    document = (Path(__file__).parents[2] / "docs" / "parity.md").read_text()
    sections = [section.partition("\n## ")[0] for section in document.split("\n### ")[1:]]
    named = {section.partition("\n")[0] for section in sections}
    assert named >= {value for name, value in vars(rules).items() if name.isupper()}
    code = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    for section in sections:
        tests = re.findall(r"`(test_\w+)`", section)
        assert tests, section
        assert all(f"def {test}(" in code for test in tests), section

"""Waits and sleeps mean the same here and in the original, but for what is told at the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.parity.modes import DECISION, Modes
from tests.parity.outcome import Outcome, of_upstream
from tests.parity.programs import Program
from tests.parity.test_random_programs import random_programs
from tests.parity.upstream import Upstream
from tests.parity.waiting import waiting_differences, waiting_programs

ANSWER = {"output": DECISION.output}


def _there(upstream: Upstream, program: Program) -> Outcome:
    return of_upstream(upstream.run(program.blueprint, program.input, answer=ANSWER))


@given(program=waiting_programs())
@random_programs(150)
def test_in_memory_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    differences = waiting_differences(program, modes.in_memory(program), _there(upstream, program))
    assert list(differences) == []


@given(program=waiting_programs())
@random_programs(40)
def test_on_the_embedded_backend_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    ours = modes.embedded(program, workers=2)
    assert list(waiting_differences(program, ours, _there(upstream, program))) == []


# ---- where we differ on purpose; the names are those of docs/parity.md ----


@pytest.fixture(params=["in memory", "embedded"])
def both(request: pytest.FixtureRequest, upstream: Upstream, modes: Modes) -> Any:
    """Runs edges like ``n0>w`` here, in one of our modes, and there.

    ``w…`` wait, ``s…`` sleep, ``h…`` are webhooks; all others give their id, or what is said of them.
    """

    def run(edges: str, **said: dict[str, Any]) -> tuple[Outcome, Outcome]:
        drawn = [_edge(text) for text in edges.split()]
        order = tuple(dict.fromkeys(end for edge in drawn for end in (edge["source"], edge["target"])))
        nodes = [_node(node_id, said.get(node_id, {})) for node_id in (*order, *(said.keys() - set(order)))]
        program = Program({"id": "p", "nodes": nodes, "edges": drawn}, {}, order)
        ours = modes.in_memory(program) if request.param == "in memory" else modes.embedded(program)
        return ours, _there(upstream, program)

    return run


def _edge(text: str) -> dict[str, str]:
    ends, _, action = text.partition(":")
    source, _, target = ends.partition(">")
    return {"source": source, "target": target, **({"action": action} if action else {})}


def _node(node_id: str, said: dict[str, Any]) -> dict[str, Any]:
    kind = {"w": "wait", "s": "sleep", "h": "webhook"}.get(node_id[0])
    if kind is not None:
        params: dict[str, Any] = {"duration": 1} if kind == "sleep" else {}
        return {"id": node_id, "uses": kind, "params": params, "config": {}}
    params = {"node": node_id, "output": {"value": node_id}, **said}
    return {"id": node_id, "uses": "act", "params": params, "config": params.pop("config", {})}


def test_resumed_without_action(both: Any) -> None:
    ours, theirs = both("n0>w w>n1:yes w>n2:no n1>n3")
    assert theirs.calls.keys() == {"n0"}  # the answer's action is not looked at
    assert ours.calls.keys() == {"n0", "n1", "n3"}


def test_resumed_as_if_nothing_was_chosen(both: Any) -> None:
    ours, theirs = both("n0>w w>n1 n0>n2 n2>n3:yes n2>n4:no", n2={"action": "yes"})
    assert "n4" in theirs.calls  # a branch that was not taken
    assert ours.calls.keys() == {"n0", "n1", "n2", "n3"}
    ours, theirs = both("n0>w w>n1 n1>n2", f1={}, n1={"config": {"fallback": "f1"}})
    assert "f1" in theirs.calls  # a fallback that nobody needs
    assert ours.calls.keys() == {"n0", "n1", "n2"}


def test_resumed_to_the_end_at_once(both: Any) -> None:
    ours, theirs = both("n0>w n0>n1 n1>n2")
    assert (theirs.status, theirs.calls.keys()) == ("completed", {"n0", "n1"})  # n2 is forgotten
    assert ours.calls.keys() == {"n0", "n1", "n2"}


def test_resumed_into_a_join(both: Any) -> None:
    ours, theirs = both("n0>w n0>n1 n1>n4 n4>n2 w>n3 n2>n3", n3={"output": "reads", "reads": ["n2"]})
    assert theirs.outputs["n3"] == {"n2": None}  # before its other predecessor
    assert ours.outputs["n3"] == {"n2": "n2"}


def test_resumed_and_run_again(both: Any) -> None:
    ours, theirs = both("n0>w w>n1 n0>n2", n2={"output": "nothing"})
    assert len(theirs.calls["n2"]) == 2  # what gave nothing has not run, as far as its context tells
    assert len(ours.calls["n2"]) == 1


def test_a_sleep_ends_with_another_wait(both: Any) -> None:
    ours, theirs = both("n0>s s>n1 n0>w w>n2")
    assert len(theirs.calls["n1"]) == 2  # when the wait is answered, and when the time has come
    assert len(ours.calls["n1"]) == len(ours.calls["n2"]) == 1


def test_webhooks(both: Any) -> None:
    ours, theirs = both("n0>h h>n1", n1={"output": "input"})
    assert (theirs.status, theirs.failed) == ("failed", ("h",))  # nobody makes an address
    assert (ours.status, ours.calls["n1"]) == ("completed", [DECISION.output])

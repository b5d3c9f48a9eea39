"""Class nodes mean the same here and in the original, but for what is told at the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.parity.classes import class_differences, class_programs
from tests.parity.modes import Modes
from tests.parity.outcome import Outcome, of_upstream
from tests.parity.programs import Program
from tests.parity.test_random_programs import random_programs
from tests.parity.upstream import Upstream


@given(program=class_programs())
@random_programs(150)
def test_in_memory_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert list(class_differences(program, modes.in_memory(program), theirs)) == []


@given(program=class_programs())
@random_programs(40)
def test_on_the_embedded_backend_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert list(class_differences(program, modes.embedded(program, workers=2), theirs)) == []


# ---- where we differ on purpose; the names are those of docs/parity.md ----


@pytest.fixture(params=["in memory", "embedded"])
def both(request: pytest.FixtureRequest, upstream: Upstream, modes: Modes) -> Any:
    """Runs one class node here, in one of our modes, and there."""

    def run(**params: Any) -> tuple[Outcome, Outcome]:
        node = {"id": "n1", "uses": "phases", "params": {"node": "n1", **params}, "config": {}}
        program = Program({"id": "p", "nodes": [node], "edges": []}, {}, ("n1",))
        theirs = of_upstream(upstream.run(program.blueprint, program.input))
        ours = modes.in_memory(program) if request.param == "in memory" else modes.embedded(program)
        return ours, theirs

    return run


def test_recovered_though_it_stood_in(both: Any) -> None:
    ours, theirs = both(exec={"fails": 1}, fallback={"gives": {"value": 7}})
    assert ours.outputs == theirs.outputs == {"n1": 7}
    assert "n1.recover" in theirs.calls  # there is nothing left to clean up behind
    assert "n1.recover" not in ours.calls


def test_a_class_that_fails_for_good_recovers(both: Any) -> None:
    for params in ({"exec": {"fails": 1}}, {"prep": {"fails": 1}}, {"post": {"fails": 1}}):
        ours, theirs = both(**params)
        assert ours.status == theirs.status == "failed"
        assert len(ours.calls["n1.recover"]) == len(theirs.calls["n1.recover"]) == 1

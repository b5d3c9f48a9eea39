"""The original's process and our modes, each started once, when a test first needs it; and a run in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.parity.modes import Modes
from tests.parity.outcome import Outcome, of_upstream
from tests.parity.programs import Program
from tests.parity.upstream import Upstream

Both = Callable[..., tuple[Outcome, Outcome]]


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as process:
        yield process


@pytest.fixture(scope="session")
def modes() -> Iterator[Modes]:
    with Modes() as ways:
        yield ways


@pytest.fixture(params=["in memory", "embedded"])
def both(request: pytest.FixtureRequest, upstream: Upstream, modes: Modes) -> Both:
    """Runs nodes and edges here, in one of our modes, and there."""

    def run(
        nodes: dict[str, dict[str, Any]], *edges: dict[str, Any], given: dict[str, Any] | None = None
    ) -> tuple[Outcome, Outcome]:
        program = Program(
            {"id": "p", "nodes": [_node(name, **said) for name, said in nodes.items()], "edges": list(edges)},
            given or {},
            tuple(nodes),
        )
        theirs = of_upstream(upstream.run(program.blueprint, program.input))
        ours = modes.in_memory(program) if request.param == "in memory" else modes.embedded(program)
        return ours, theirs

    return run


def _node(
    name: str, inputs: Any = None, config: dict[str, Any] | None = None, **params: Any
) -> dict[str, Any]:
    node = {"id": name, "uses": "act", "params": {"node": name, "output": {"value": name}, **params}}
    return {**node, **({"inputs": inputs} if inputs else {}), "config": config or {}}

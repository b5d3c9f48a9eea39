"""Random programs mean the same here and in the original, and in each of our modes.

``python -m tests.parity 10000`` runs any number of them, with a new seed that it prints.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from tests.parity.comparison import compare
from tests.parity.modes import Modes
from tests.parity.outcome import of_upstream
from tests.parity.programs import Program, programs
from tests.parity.races import disagreements
from tests.parity.upstream import Upstream

Test = Callable[..., None]


def random_programs(count: int) -> Callable[[Test], Test]:
    """Settings of a test of so many programs, the same ones each time."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@given(program=programs())
@random_programs(250)
def test_in_memory_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert compare(program, modes.in_memory(program), theirs).unexplained == ()


@given(program=programs())
@random_programs(60)
def test_on_the_embedded_backend_as_the_original(upstream: Upstream, modes: Modes, program: Program) -> None:
    theirs = of_upstream(upstream.run(program.blueprint, program.input))
    assert compare(program, modes.embedded(program), theirs).unexplained == ()


@given(program=programs(waits=True))
@random_programs(60)
def test_in_memory_and_with_one_worker_and_with_two(modes: Modes, program: Program) -> None:
    memory = modes.in_memory(program)
    assert list(disagreements(program, memory, modes.embedded(program))) == []
    assert list(disagreements(program, memory, modes.embedded(program, workers=2))) == []

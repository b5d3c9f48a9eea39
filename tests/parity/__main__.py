"""Any number of random programs against the original: ``python -m tests.parity [COUNT] [--of KIND]``."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import hypothesis
import structlog
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from tests.parity.batches import batch_differences, batch_programs
from tests.parity.classes import class_differences, class_programs
from tests.parity.comparison import compare
from tests.parity.loops import loop_differences, loop_programs
from tests.parity.modes import DECISION, Modes
from tests.parity.outcome import Outcome, of_upstream
from tests.parity.programs import Program, programs
from tests.parity.subflows import subflow_differences, subflow_programs
from tests.parity.upstream import Upstream
from tests.parity.waiting import waiting_differences, waiting_programs

Differences = Callable[[Program, Outcome, Outcome], Iterator[str]]
GRAPHS: Final = "graphs"
OTHERS: Final[Mapping[str, tuple[st.SearchStrategy[Program], Differences]]] = {
    "batches": (batch_programs(), batch_differences),
    "loops": (loop_programs(), loop_differences),
    "subflows": (subflow_programs(), subflow_differences),
    "classes": (class_programs(), class_differences),
    "waits": (waiting_programs(), waiting_differences),
}


def say(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")


class Report:
    """Counts what was compared.

    Attributes:
        counts: Programs, and of graphs their nodes.
        rules: How many programs met each rule; of graphs.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.counts: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()

    def differences(self, program: Program, ours: Outcome, theirs: Outcome) -> list[str]:
        """What no rule explains."""
        self.counts.update(programs=1, completed=ours.status == "completed")
        if self._kind != GRAPHS:
            return list(OTHERS[self._kind][1](program, ours, theirs))
        verdict = compare(program, ours, theirs)
        self.rules.update(verdict.rules)
        self.counts.update(plain=not verdict.rules, nodes=verdict.nodes, ran=verdict.ran)
        self.counts.update(got=verdict.got, gave=verdict.gave)
        return list(verdict.unexplained)

    def show(self) -> None:
        """Say it."""
        counts = self.counts
        plain = f", {counts['plain']} met no rule" if self._kind == GRAPHS else ""
        told = f"{counts['completed']} completed{plain}"
        say(f"{counts['programs']} {self._kind} ({told}), no unexplained difference")
        if self._kind == GRAPHS:
            say(
                f"of {counts['nodes']} nodes compared: whether and how often they ran {counts['ran']}, "
                f"what they got {counts['got']}, what they gave {counts['gave']}"
            )
        for rule, times in self.rules.most_common():
            say(f"  {rule:24} {times}")


def main() -> int:
    """Run them; exit code 1 if anything differs that no rule explains."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("count", type=int, nargs="?", default=1000)
    options.add_argument("--of", choices=[GRAPHS, *OTHERS], default=GRAPHS, help="what the programs are")
    options.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    options.add_argument(
        "--embedded", type=int, default=0, metavar="WORKERS", help="run there instead of in memory"
    )
    given = options.parse_args()
    say(f"seed {given.seed}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    drawn = programs() if given.of == GRAPHS else OTHERS[given.of][0]
    answer: Mapping[str, Any] | None = {"output": DECISION.output} if given.of == "waits" else None
    report = Report(given.of)
    with Upstream() as upstream, Modes() as modes:

        @hypothesis.seed(given.seed)
        @hypothesis.settings(
            max_examples=given.count,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(drawn)
        def agree(program: Program) -> None:
            theirs = of_upstream(
                upstream.run(program.blueprint, program.input, program.subflows, answer=answer)
            )
            ours = modes.embedded(program, given.embedded) if given.embedded else modes.in_memory(program)
            unexplained = report.differences(program, ours, theirs)
            assert not unexplained, "\n".join(unexplained)

        try:
            agree()
        except AssertionError:
            say(f"not the same after {report.counts['programs']} programs, seed {given.seed}")
            raise
    report.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Any number of random programs against the original: ``python -m tests.parity [COUNT] [--seed SEED]``."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections import Counter

import hypothesis
import structlog
from hypothesis import HealthCheck, Phase
from tests.parity.comparison import compare
from tests.parity.modes import Modes
from tests.parity.outcome import of_upstream
from tests.parity.programs import Program, programs
from tests.parity.upstream import Upstream


def say(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")


def main() -> int:
    """Run them; exit code 1 if anything differs that no rule explains."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("count", type=int, nargs="?", default=1000)
    options.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    options.add_argument(
        "--embedded", type=int, default=0, metavar="WORKERS", help="run there instead of in memory"
    )
    given = options.parse_args()
    say(f"seed {given.seed}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rules: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    with Upstream() as upstream, Modes() as modes:

        @hypothesis.seed(given.seed)
        @hypothesis.settings(
            max_examples=given.count,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(programs())
        def agree(program: Program) -> None:
            theirs = of_upstream(upstream.run(program.blueprint, program.input))
            ours = modes.embedded(program, given.embedded) if given.embedded else modes.in_memory(program)
            verdict = compare(program, ours, theirs)
            rules.update(verdict.rules)
            counts.update(programs=1, plain=not verdict.rules, completed=ours.status == "completed")
            counts.update(nodes=verdict.nodes, ran=verdict.ran, got=verdict.got, gave=verdict.gave)
            assert not verdict.unexplained, "\n".join(verdict.unexplained)

        try:
            agree()
        except AssertionError:
            say(f"not the same after {counts['programs']} programs, seed {given.seed}")
            raise
    say(
        f"{counts['programs']} programs ({counts['completed']} completed, {counts['plain']} met no rule), "
        "no unexplained difference"
    )
    say(
        f"of {counts['nodes']} nodes compared: whether and how often they ran {counts['ran']}, "
        f"what they got {counts['got']}, what they gave {counts['gave']}"
    )
    for rule, times in rules.most_common():
        say(f"  {rule:24} {times}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

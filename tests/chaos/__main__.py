"""Chaos by hand: ``python -m tests.chaos [COUNT] [--seed SEED] [--backend azure|embedded]``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import time
from pathlib import Path

import structlog
from tests.chaos import azure, embedded


def main() -> int:
    """Run it; exit code 1 if the audit finds anything."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("count", type=int, nargs="?", default=1000)
    options.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    options.add_argument("--backend", choices=["azure", "embedded"], default="azure")
    options.add_argument("--logs", type=Path, help="keep the workers' logs there")
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    started = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:6.1f} s  {line}\n")

    say(f"{given.count} runs on {given.backend}, seed {given.seed}")
    chaos = {"azure": azure.chaos, "embedded": embedded.chaos}[given.backend]
    findings, counts = asyncio.run(chaos(given.count, given.seed, say, given.logs))
    out = [
        f"chaos: {given.backend}, {given.count} runs, seed {given.seed}, {time.monotonic() - started:.0f} s"
    ]
    out += [f"  {line}" for line in findings.figures()]
    out += ["faults injected", *(f"  {name:40} {count}" for name, count in sorted(counts.items()))]
    sys.stdout.write("\n".join(out) + "\n")
    return 0 if findings.clean else 1


if __name__ == "__main__":
    sys.exit(main())

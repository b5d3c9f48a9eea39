"""Plants every bug, or those named, and prints the table of what it took to find them."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys

from tests.simulation.planted.hunt import Found, control, hunt_named
from tests.simulation.planted.patches import BUGS


def main() -> int:
    """Hunt; 1 if a bug was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.planted", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BUGS, []], metavar="name")
    parser.add_argument("--most", type=int, default=5000, help="schedules to try at most")
    parser.add_argument("--control", type=int, default=0, help="instead: so many of the same without any bug")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    names = given.names or list(BUGS)
    if given.control:
        return _control(names, given.control)
    rows: dict[str, str] = {}
    missed = 0
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for name, found in pool.imap_unordered(hunt_named, [(name, given.most) for name in names]):
            missed += found.schedules is None
            rows[name] = row(name, found)
            sys.stderr.write(f"{len(rows)}/{len(names)} {name}: {found.schedules or 'NOT FOUND'}\n")
            sys.stderr.flush()
    sys.stdout.write(
        "| planted | rule | looked for in | simulations | first wrong |\n|---|---|---|---|---|\n"
    )
    sys.stdout.writelines(f"{rows[name]}\n" for name in names)
    sys.stdout.write(f"\n{len(names) - missed} of {len(names)} found\n")
    return 1 if missed else 0


def _control(names: list[str], count: int) -> int:
    wrong = 0
    for name in names:
        for result in control(BUGS[name].where, count):
            wrong += 1
            sys.stdout.write(
                f"{name}: seed {result.seed}, '{result.plan.text}': {result.violations[0][:200]}\n"
            )
    sys.stdout.write(f"{wrong} wrong without any bug\n")
    return 1 if wrong else 0


def row(name: str, found: Found) -> str:
    """A line of the table."""
    bug = BUGS[name]
    violation = found.violation.splitlines()[0][:110].replace("|", "/") if found.violation else ""
    rule = f"{bug.rule} {'**[m]**' if bug.marked else ''}".strip()
    return f"| {bug.instead} | {rule} | {bug.where} | {found.schedules or 'not found'} | {violation} |"


if __name__ == "__main__":
    sys.exit(main())

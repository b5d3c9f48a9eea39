"""Measure and print; see ``docs/performance.md`` for how to read it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.emulators.server_process import StandInError
from tests.emulators.stand_ins import RunningStandIns

from benchmarks import in_memory
from benchmarks.contestants import ROOT, ContestantProcess, on_azure
from benchmarks.disk import NoDiskError, folder_on_disk, raw_commits_per_s
from benchmarks.figures import Laps, figures, verdicts
from benchmarks.laps import Load
from benchmarks.machine import description
from benchmarks.table import memory_table, table, targets
from benchmarks.workflows import WORKFLOWS

AZURE: Final = (
    (Load("linear5", 40, 32), 15),
    (Load("fan8", 20, 16), 15),
    (Load("wide1000", 1, 1), 5),
)
"""Loads on the stand-ins, and how often each contestant runs them."""
EMBEDDED: Final = (
    ((Load("linear5", 60, 1), Load("linear5", 300, 8), Load("linear5", 400, 64)), 9),
    ((Load("fan8", 150, 16),), 5),
    ((Load("wide1000", 2, 1),), 5),
)
"""Loads that are run in turn on a file, and how often."""
CONTESTANTS: Final = ("engine", "bare", "floor")
RAW_S: Final = 0.5
BUDGET_S: Final = 60.0
"""After so long a workflow gets no further rounds (where it had three), however slow the machine is."""
FEWEST_ROUNDS: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all; 0 when measured, whether or not the targets are reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--only", choices=("azure", "embedded", "memory"), help="measure one backend")
    parser.add_argument("--folder", type=Path, help="a folder on a disk for the embedded backend's file")
    parser.add_argument("--rounds", type=int, help="laps of each contestant (less is quicker, and noisier)")
    given = parser.parse_args(arguments)
    laps = {name: Laps() for name in WORKFLOWS}
    memory = None
    try:
        with _disk_folder(given.folder) as folder:
            machine = description(folder)
            if given.only in {None, "embedded"}:
                _measure_embedded(folder, laps, given.rounds)
        if given.only in {None, "azure"}:
            _measure_azure(laps, given.rounds)
        if given.only in {None, "memory"}:
            memory = in_memory.measure(_tell, given.rounds or in_memory.ROUNDS)
    except (NoDiskError, StandInError) as error:
        print(error, file=sys.stderr)
        return 1
    measured: dict[str, Any] = {name: figures(some) for name, some in laps.items()}
    judged = verdicts(measured)
    print("\n".join(machine), end="\n\n")
    if given.only != "memory":
        print(table(measured), end="\n\n")
    if memory is not None:
        print(memory_table(memory), end="\n\n")
        judged += in_memory.verdicts(memory)
        measured["memory"] = dataclasses.asdict(memory)
    print(targets(judged))
    if given.out:
        given.out.write_text(f"{json.dumps(measured, indent=2)}\n")
    return 0


@contextmanager
def _disk_folder(wanted: Path | None) -> Iterator[Path]:
    candidates = [wanted] if wanted else [ROOT, Path(tempfile.gettempdir()), Path.home()]
    folder = folder_on_disk(candidates)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure_embedded(folder: Path, laps: dict[str, Laps], rounds: int | None) -> None:
    with ContestantProcess("embedded", "--path", str(folder / "runs.db")) as engine:
        for loads, usual in EMBEDDED:
            some = laps[loads[0].workflow]
            engine.lap(loads[-1])
            for _ in _rounds(f"embedded, {loads[0].workflow}", rounds or usual):
                some.raw_commits_per_s.append(raw_commits_per_s(folder, RAW_S))
                for load in loads:
                    some.embedded.setdefault(load.at_once, []).append(engine.lap(load))


def _measure_azure(laps: dict[str, Laps], rounds: int | None) -> None:
    """Laps in turn, the order turned round each time, so that what drifts favours nobody."""
    with ExitStack() as stack:
        print("starting the stand-ins ...", file=sys.stderr)
        servers = RunningStandIns()
        stack.callback(servers.stop)
        contestants = on_azure(servers.connections.environment, CONTESTANTS)
        for contestant in contestants.values():
            stack.enter_context(contestant)
        for load, usual in AZURE:
            for contestant in contestants.values():
                contestant.lap(load)
            for number in _rounds(f"Azure stand-ins, {load.workflow}", rounds or usual):
                names = CONTESTANTS if number % 2 else CONTESTANTS[::-1]
                for name in names:
                    lap = contestants[name].lap(load)
                    laps[load.workflow].azure.setdefault(name, []).append(lap)


def _rounds(what: str, most: int) -> Iterator[int]:
    started = time.monotonic()
    for number in range(most):
        if number >= FEWEST_ROUNDS and time.monotonic() - started > BUDGET_S:
            return
        _tell(f"{what}: {number + 1} of {most} ...")
        yield number


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""Runs in memory beside the original's runtime, on the same blueprints: nodes a second, and how cost grows.

Both run one run after the other, in a process each, in turn; of each pair of laps the ratio counts. The
original is the npm package that the differential test runs (``tests/parity``).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Self

from benchmarks.contestants import ROOT
from benchmarks.figures import Verdict
from flowcraft import FlowRuntime, NodeContext
from flowcraft.analysis import analyze_blueprint
from flowcraft.blueprint import Blueprint
from flowcraft.linter import lint
from flowcraft_cli.garbage import collect_rarely

ORIGINAL: Final = ROOT / "tests" / "parity" / "laps.mjs"
NODES_A_LAP: Final = 10_000
"""Nodes that a lap executes, about: so many runs as that takes."""
BESIDE: Final[Mapping[str, float]] = {"row5": 1.0, "fan8": 0.5, "row3000": 5.0}
"""Workflows that both run, and the least ratio of our nodes/s to theirs."""
GROWTH: Final = (10, 100, 1_000, 10_000)
FLAT: Final = 0.9
"""Nodes/s of the largest graph, of those of the smallest, at least."""
LARGE: Final = 10_000
PARSE_RATIO: Final = 5.0
ROUNDS: Final = 7


def row(length: int) -> dict[str, Any]:
    """Nodes in a row, as the original's JSON."""
    names = [f"n{place}" for place in range(length)]
    return _document(f"row{length}", names, list(itertools.pairwise(names)))


def fan(width: int) -> dict[str, Any]:
    """One node, ``width`` side by side, one that waits for all."""
    middle = [f"m{place}" for place in range(width)]
    edges = [edge for node in middle for edge in (("a", node), (node, "z"))]
    return _document(f"fan{width}", ["a", *middle, "z"], edges)


def _document(name: str, nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "id": name,
        "nodes": [{"id": node, "uses": "noop"} for node in nodes],
        "edges": [{"source": source, "target": target} for source, target in edges],
    }


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured in memory.

    Attributes:
        nodes_per_s: By contestant (``memory``, ``original``), then by workflow; medians.
        ratios: By workflow that both run: our nodes/s of theirs, the median of the pairs of laps.
        parse_ratio: Analysing and linting a graph of 10,000 nodes, in times of parsing its JSON.
    """

    nodes_per_s: Mapping[str, Mapping[str, float]]
    ratios: Mapping[str, float]
    parse_ratio: float


class Lane:
    """A process that runs laps: a line ``{"blueprint": …, "runs": n}`` gives a line ``{"seconds": s}``."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this program, and node
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def nodes_per_s(self, blueprint: Mapping[str, Any]) -> float:
        """Run one lap.

        Raises:
            RuntimeError: the process ended instead; why stands above.
        """
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        nodes = len(blueprint["nodes"])
        runs = max(1, NODES_A_LAP // nodes)
        self._process.stdin.write(json.dumps({"blueprint": blueprint, "runs": runs}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contestant ended with status {self._process.wait()}")
        return float(nodes * runs / json.loads(line)["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()


def measure(told: Callable[[str], None], rounds: int = ROUNDS) -> Measured:
    """Run all laps; ``told`` gets a line of progress a workflow."""
    beside = {"row5": row(5), "fan8": fan(8), "row3000": row(3000)}
    alone = {document["id"]: document for size in GROWTH for document in (row(size), fan(size))}
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    with (
        Lane(sys.executable, "-m", "benchmarks.in_memory", "--serve") as memory,
        Lane("node", str(ORIGINAL)) as original,
    ):
        for name, blueprint in beside.items():
            told(f"in memory, beside the original: {name} ...")
            for number in range(rounds + 1):
                pair = memory.nodes_per_s(blueprint), original.nodes_per_s(blueprint)
                if number:  # the first lap warms up
                    ours.setdefault(name, []).append(pair[0])
                    theirs.setdefault(name, []).append(pair[1])
        told(f"in memory, {', '.join(map(str, GROWTH))} nodes in a row and side by side ...")
        for number in range(rounds + 1):
            for name, blueprint in alone.items():
                speed = memory.nodes_per_s(blueprint)
                if number:
                    ours.setdefault(name, []).append(speed)
    return Measured(
        {"memory": _medians(ours), "original": _medians(theirs)},
        {
            name: round(median(a / b for a, b in zip(ours[name], theirs[name], strict=True)), 3)
            for name in beside
        },
        _parse_ratio(rounds),
    )


def _medians(speeds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(median(some)) for name, some in speeds.items()}


def _parse_ratio(rounds: int) -> float:
    text = json.dumps(fan(LARGE))
    ratios = []
    for _ in range(rounds):
        started = time.perf_counter()
        document = json.loads(text)
        parsed_s = time.perf_counter() - started
        blueprint = Blueprint.from_dict(document)
        started = time.perf_counter()
        analyze_blueprint(blueprint)
        lint(blueprint)
        ratios.append((time.perf_counter() - started) / parsed_s)
    return round(median(ratios), 2)


def verdicts(measured: Measured) -> list[Verdict]:
    """What is wanted of the figures, and whether they reach it."""
    found = [
        Verdict(
            f"{name} in memory: nodes/s, of the original's",
            f"{measured.ratios[name]:.2f}",
            f"at least {least:g}",
            measured.ratios[name] >= least,
        )
        for name, least in BESIDE.items()
    ]
    speeds = measured.nodes_per_s["memory"]
    for shape, title in (("row", "in a row"), ("fan", "side by side")):
        steps = [speeds[f"{shape}{size}"] for size in GROWTH]
        found.append(
            Verdict(
                f"{', '.join(map(str, GROWTH))} nodes {title} in memory: nodes/s",
                ", ".join(f"{step:.0f}" for step in steps),
                f"the last at least {FLAT:g} of the first",
                steps[-1] >= FLAT * steps[0],
            )
        )
    found.append(
        Verdict(
            "graph of 10,000 nodes: analysis and lint, in times of its JSON's parsing",
            f"{measured.parse_ratio:.2f}",
            f"at most {PARSE_RATIO:g}",
            measured.parse_ratio <= PARSE_RATIO,
        )
    )
    return found


async def _noop(_ctx: NodeContext) -> None:
    """Do nothing: what is left is the engine's own cost."""


async def _serve() -> None:
    """Run a lap for each line of standard input until it ends."""
    runtime = FlowRuntime(registry={"noop": _noop})
    collect_rarely()  # as `flowcraft worker` does
    for line in sys.stdin:
        load = json.loads(line)
        blueprint = Blueprint.from_dict(load["blueprint"])
        started = time.perf_counter()
        for _ in range(load["runs"]):
            result = await runtime.run(blueprint, {})
            if result.status != "completed":
                raise RuntimeError(f"a run ended {result.status}")
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="run laps for lines of standard input")
    if parser.parse_args().serve:
        asyncio.run(_serve())

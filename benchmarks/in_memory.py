"""Runs in memory beside the original's runtime, on the same blueprints: nodes a second, and how cost grows.

Both run one run after the other, in a process each, in turn; of each pair of laps the ratio counts. Laps are
warm or cold: the later ones of a process that lives on, or the first one of a process of its own, which has
loaded its package and run nothing yet. The original is the npm package that the differential test runs
(``tests/parity``).
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
from flowcraft.memory import runner as _loaded  # noqa: F401  before the first lap, as the original's is
from flowcraft_cli.garbage import collect_rarely

ORIGINAL: Final = ROOT / "tests" / "parity" / "laps.mjs"
NODES_A_LAP: Final = 10_000
"""Nodes that a lap executes, about: so many runs as that takes."""
GROWTH_LAP: Final = 50_000
"""Nodes of a lap of each size alone: several runs of the largest, too; the first one finds cold caches."""
BESIDE: Final[Mapping[str, float]] = {"row5": 1.0, "fan8": 0.5, "row3000": 5.0}
"""Workflows that both run, and the least ratio of our nodes/s to theirs."""
GROWTH: Final = (10, 100, 1_000, 10_000)
FLAT: Final = 0.9
"""Nodes/s of the largest graph, of those of the smallest, at least."""
LARGE: Final = 10_000
PARSE_RATIO: Final = 5.0
ROUNDS: Final = 7
COLD_ROUNDS: Final = 3
OURS: Final = (sys.executable, "-m", "benchmarks.in_memory", "--serve")
THEIRS: Final = ("node", str(ORIGINAL))


def row(length: int) -> dict[str, Any]:
    """Nodes in a row, as the original's JSON."""
    names = [f"n{place}" for place in range(length)]
    return _document(f"row{length}", names, list(itertools.pairwise(names)))


def fan(width: int) -> dict[str, Any]:
    """One node, ``width`` side by side, one that waits for all."""
    middle = [f"m{place}" for place in range(width)]
    edges = [edge for node in middle for edge in (("a", node), (node, "z"))]
    return _document(f"fan{width}", ["a", *middle, "z"], edges)


SHAPES: Final[Mapping[str, Callable[[int], dict[str, Any]]]] = {"row": row, "fan": fan}


def _document(name: str, nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "id": name,
        "nodes": [{"id": node, "uses": "noop"} for node in nodes],
        "edges": [{"source": source, "target": target} for source, target in edges],
    }


@dataclass(frozen=True, slots=True)
class Beside:
    """What was measured of both contestants, by workflow; medians.

    Attributes:
        ours: Our nodes/s.
        theirs: The original's.
        ratios: Ours of theirs, in one pair of laps.
    """

    ours: Mapping[str, float]
    theirs: Mapping[str, float]
    ratios: Mapping[str, float]

    @classmethod
    def of(cls, pairs: Mapping[str, Sequence[tuple[float, float]]]) -> Beside:
        """The medians of pairs of laps, by workflow."""
        return cls(
            {name: round(median(ours for ours, _ in some)) for name, some in pairs.items()},
            {name: round(median(theirs for _, theirs in some)) for name, some in pairs.items()},
            {name: round(median(ours / theirs for ours, theirs in some), 3) for name, some in pairs.items()},
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured in memory.

    Attributes:
        warm: Beside the original, in processes that have run laps before.
        cold: Beside the original, in the first lap of processes of their own.
        nodes_per_s: Ours alone, by workflow, warm; medians.
        flat: By shape, nodes/s of the largest graph, of those of the smallest in the same round; medians.
        parse_ratio: Analysing and linting a graph of 10,000 nodes, in times of parsing its JSON.
    """

    warm: Beside
    cold: Beside
    nodes_per_s: Mapping[str, float]
    flat: Mapping[str, float]
    parse_ratio: float


class Lane:
    """A process that runs laps: a line ``{"blueprint": …, "runs": n}`` gives a line ``{"seconds": s}``."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this program, and node
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def nodes_per_s(self, blueprint: Mapping[str, Any], at_least: int = NODES_A_LAP) -> float:
        """Run one lap of about so many nodes.

        Raises:
            RuntimeError: the process ended instead; why stands above.
        """
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        nodes = len(blueprint["nodes"])
        runs = max(1, at_least // nodes)
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
    cold = _cold(beside, told, min(rounds, COLD_ROUNDS))
    with Lane(*OURS) as ours:
        with Lane(*THEIRS) as theirs:
            warm = _warm(beside, (ours, theirs), told, rounds)
        told(f"in memory, {', '.join(map(str, GROWTH))} nodes in a row and side by side ...")
        alone = _alone(ours, rounds)
    return Measured(
        warm,
        cold,
        {name: round(median(speeds)) for name, speeds in alone.items()},
        {shape: round(_flat(alone, shape), 3) for shape in SHAPES},
        _parse_ratio(rounds),
    )


def _cold(beside: Mapping[str, dict[str, Any]], told: Callable[[str], None], rounds: int) -> Beside:
    pairs: dict[str, list[tuple[float, float]]] = {}
    for name, blueprint in beside.items():
        told(f"in memory, beside the original, first laps: {name} ...")
        for _ in range(rounds):
            with Lane(*OURS) as ours:
                speed = ours.nodes_per_s(blueprint)
            with Lane(*THEIRS) as theirs:
                pairs.setdefault(name, []).append((speed, theirs.nodes_per_s(blueprint)))
    return Beside.of(pairs)


def _warm(
    beside: Mapping[str, dict[str, Any]], lanes: tuple[Lane, Lane], told: Callable[[str], None], rounds: int
) -> Beside:
    ours, theirs = lanes
    pairs: dict[str, list[tuple[float, float]]] = {}
    for name, blueprint in beside.items():
        told(f"in memory, beside the original: {name} ...")
        for number in range(rounds + 1):
            pair = ours.nodes_per_s(blueprint), theirs.nodes_per_s(blueprint)
            if number:  # the first lap warms up
                pairs.setdefault(name, []).append(pair)
    return Beside.of(pairs)


def _alone(lane: Lane, rounds: int) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for shape, of_size in SHAPES.items():
            for size in GROWTH:
                speed = lane.nodes_per_s(of_size(size), GROWTH_LAP)
                if number:
                    speeds.setdefault(f"{shape}{size}", []).append(speed)
    return speeds


def _flat(alone: Mapping[str, Sequence[float]], shape: str) -> float:
    smallest, largest = alone[f"{shape}{GROWTH[0]}"], alone[f"{shape}{GROWTH[-1]}"]
    return median(last / first for first, last in zip(smallest, largest, strict=True))


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
            f"{name} in memory, {state}: nodes/s, of the original's",
            f"{beside.ratios[name]:.2f}",
            f"at least {least:g}",
            beside.ratios[name] >= least,
        )
        for name, least in BESIDE.items()
        for state, beside in (("cold", measured.cold), ("warm", measured.warm))
    ]
    for shape, title in (("row", "in a row"), ("fan", "side by side")):
        steps = [f"{measured.nodes_per_s[f'{shape}{size}']:.0f}" for size in GROWTH]
        found.append(
            Verdict(
                f"{', '.join(map(str, GROWTH))} nodes {title} in memory: nodes/s",
                f"{', '.join(steps)}: {measured.flat[shape]:.2f}",
                f"the last at least {FLAT:g} of the first",
                measured.flat[shape] >= FLAT,
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
    known: dict[str, Blueprint] = {}
    for line in sys.stdin:
        load = json.loads(line)
        blueprint = known.get(load["blueprint"]["id"])
        if blueprint is None:
            blueprint = known[load["blueprint"]["id"]] = Blueprint.from_dict(load["blueprint"])
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

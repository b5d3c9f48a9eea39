"""What a node costs in runs of 100, 1,000 and 10,000 nodes: in a row, side by side, in a loop, in a batch.

``python -m benchmarks.growth`` starts the stand-ins, runs each shape in each size once, and prints requests
and CPU a node; constant cost is a flat line. It takes some minutes, so ``make bench`` does not run it. A
second table says what it costs that something lasts (`benchmarks/lasting.py`): ``--lasting``, only that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tabulate import tabulate
from tests.emulators.stand_ins import RunningStandIns

from benchmarks import lasting
from benchmarks.azure_engine import on_azure
from benchmarks.laps import Lap
from benchmarks.workflows import app, fan, row
from flowcraft import NodeContext
from flowcraft_azure import AzureSettings, provision
from flowcraft_azure.settings import COSMOS_DATABASE, QUEUE
from flowcraft_cli.garbage import collect_rarely

SIZES: Final = (100, 1_000, 10_000)
FLAT: Final = 1.1
"""Requests a node of the largest run, of those of the smallest, at most."""


@app.node("count")
async def _count(ctx: NodeContext) -> int:
    """Count the rounds."""
    turn = (await ctx.context.get("turn") or 0) + 1
    await ctx.context.set("turn", turn)
    return turn


@app.node("items")
async def _items(ctx: NodeContext) -> list[int]:
    """As many items as the run's input says."""
    return list(range((await ctx.context.get("size")) or 0))


def _loop(name: str, rounds: int) -> None:
    flow = app.flow(name, version="1").node("before", uses="noop").node("body", uses="count")
    flow.node("after", uses="noop").edge("before", "body")
    flow.loop("again", start="body", end="body", condition=f"context.turn < {rounds}").edge("again", "after")


def _batch(name: str, size: int) -> None:
    flow = app.flow(name, version="1").node("list", uses="items").node("after", uses="noop")
    flow.batch("each", "noop", input_key="list", output_key="done").edge("list", "each").edge("each", "after")
    del size  # the run's input says it


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of runs that can have any size.

    Attributes:
        title: What it is called in the table.
        register: Adds the workflow of a name and size to the app.
        nodes: How many nodes a run of a size executes.
    """

    title: str
    register: Callable[[str, int], object]
    nodes: Callable[[int], int]


SHAPES: Final[Mapping[str, Shape]] = {
    "row": Shape("in a row", row, lambda size: size),
    "fan": Shape("side by side", fan, lambda size: size + 2),
    "loop": Shape("rounds of a loop", _loop, lambda size: 2 * size + 2),
    "batch": Shape("children of a batch", _batch, lambda size: size + 4),
}


async def measure(shapes: list[str], sizes: list[int]) -> dict[str, dict[int, Lap]]:
    """One run of each shape and size."""
    for name in shapes:
        for size in sizes:
            SHAPES[name].register(f"{name}{size}", size)
    servers = RunningStandIns()
    try:
        environment = {**servers.connections.environment, QUEUE: "growth", COSMOS_DATABASE: "growth"}
        settings = AzureSettings.from_environment(environment)
        await provision(settings)
        found: dict[str, dict[int, Lap]] = {}
        async with on_azure(settings) as engine:
            collect_rarely()  # as `flowcraft worker` does: else the garbage of a large heap is what grows
            for name in shapes:
                for size in sizes:
                    print(f"{size} {SHAPES[name].title} ...", file=sys.stderr)
                    lap = await engine.one(f"{name}{size}", {"size": size}, SHAPES[name].nodes(size))
                    found.setdefault(name, {})[size] = lap
        return found
    finally:
        servers.stop()


def per_node(lap: Lap, *services: str) -> float:
    """Requests of these services, a node."""
    return sum(sum(lap.requests.get(service, {}).values()) for service in services) / lap.nodes


def table(found: Mapping[str, Mapping[int, Lap]]) -> str:
    """One line a shape and size."""
    rows: list[tuple[Any, ...]] = [
        (
            SHAPES[name].title,
            size,
            per_node(lap, "cosmos", "queue", "blob"),
            per_node(lap, "redis"),
            1000 * lap.cpu_s / lap.nodes,
            lap.nodes_per_s,
            lap.peak_bytes / 1e6,
        )
        for name, laps in found.items()
        for size, lap in laps.items()
    ]
    headings = ("nodes", "how many", "requests", "Redis", "CPU ms", "nodes/s", "peak MB")
    return tabulate(rows, headings, floatfmt=("", "", ".2f", ".2f", ".2f", ".0f", ".0f"))


def curve(found: Mapping[str, Mapping[int, Lap]]) -> str:
    """The requests a node as a chart that Markdown viewers draw (Mermaid)."""
    sizes = sorted({size for laps in found.values() for size in laps})
    services = ("cosmos", "queue", "blob")
    figures = [[f"{per_node(laps[size], *services):.2f}" for size in sizes] for laps in found.values()]
    lines = [f"  line [{', '.join(some)}]" for some in figures]
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'  title "Requests a node: {", ".join(SHAPES[name].title for name in found)}"',
            f"  x-axis [{', '.join(map(str, sizes))}]",
            '  y-axis "Cosmos DB and queue" 0 --> 6',
            *lines,
            "```",
        ]
    )


def grown(found: Mapping[str, Mapping[int, Lap]]) -> list[str]:
    """Shapes whose requests a node grow with the size of the run."""
    services = ("cosmos", "queue", "blob", "redis")
    return [
        SHAPES[name].title
        for name, laps in found.items()
        if per_node(laps[max(laps)], *services) > FLAT * per_node(laps[min(laps)], *services)
    ]


def main() -> int:
    """Measure and print; 1 if a node of a large run costs more than one of a small run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--lasting", action="store_true", help="only what it costs that something lasts")
    given = parser.parse_args()
    lasted = lasting.measure()
    if given.lasting:
        print(f"{lasting.table(lasted)}\n\n{lasting.curves(lasted)}")
        return 0
    found = asyncio.run(measure(given.shapes, given.sizes))
    print(f"{table(found)}\n\n{curve(found)}\n\n{lasting.table(lasted)}\n\n{lasting.curves(lasted)}")
    growing = grown(found)
    print(f"\ngrowing: {', '.join(growing) or 'none'}")
    return 1 if growing else 0


if __name__ == "__main__":
    sys.exit(main())

"""The program of a contestant: reads loads from its input, runs them, and writes laps to its output."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from benchmarks.laps import WARM_UP, Lap, Load
from flowcraft_cli.garbage import collect_rarely

WARNING = 30


class Contestant(Protocol):
    """What runs laps."""

    async def lap(self, load: Load) -> Lap:
        """Run a load from its first start to its last end."""
        ...


def contestant(name: str, path: str) -> AbstractAsyncContextManager[Contestant]:
    """The contestant of this name; those on Azure are found by their variables in the environment."""
    if name == "embedded":
        from benchmarks.engine import on_file  # noqa: PLC0415 - memory is measured: nothing that is not used

        return on_file(path)
    from benchmarks import azure_engine, bare, floor  # noqa: PLC0415
    from flowcraft_azure import AzureSettings  # noqa: PLC0415

    settings = AzureSettings.from_environment(os.environ)
    if name == "engine":
        return azure_engine.on_azure(settings)
    return bare.on_azure(settings) if name == "bare" else floor.on_azure(settings)


async def serve(opened: AbstractAsyncContextManager[Contestant]) -> None:
    """Run a lap for each line of standard input until it ends."""
    loop = asyncio.get_running_loop()
    async with opened as runner:
        await runner.lap(WARM_UP)
        collect_rarely()  # as `flowcraft worker` does
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            lap = await _lap(runner, Load(**json.loads(line)))
            print(json.dumps(dataclasses.asdict(lap)), flush=True)


async def _lap(runner: Contestant, load: Load) -> Lap:
    """Run a lap; once more where a service closes an idle connection just as it is used."""
    try:
        return await runner.lap(load)
    except Exception as error:
        print(f"a lap is run again, because it ended with: {error!r}", file=sys.stderr)
        return await runner.lap(load)


def main() -> None:
    """Run one contestant until its input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("embedded", "engine", "bare", "floor"))
    parser.add_argument("--path", default="")
    given = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(serve(contestant(given.name, given.path)))


if __name__ == "__main__":
    main()

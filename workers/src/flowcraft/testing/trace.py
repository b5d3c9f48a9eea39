"""A run whose events are printed when it does not come to what it should."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from flowcraft.blueprint import Blueprint
from flowcraft.memory.options import RunOptions
from flowcraft.memory.result import RunResult
from flowcraft.runtime import FlowRuntime
from flowcraft.testing.event_log import EventLog


async def run_with_trace(
    runtime: FlowRuntime,
    blueprint: Blueprint | Mapping[str, Any] | str,
    input: Any = None,  # noqa: A002  the runtime's word
    options: RunOptions | None = None,
    *,
    file: TextIO | None = None,
) -> RunResult:
    """Run in memory; print the run's events if it fails, or cannot be run.

    Args:
        runtime: Whose blueprints, code and extensions are used.
        blueprint: What to run.
        input: The run's input.
        options: How it is carried out.
        file: Where the trace goes; standard output by default.

    Raises:
        Exception: what ``runtime.run`` raises.
    """
    log = EventLog()
    forget = runtime.options.extensions.events.subscribe(log)
    try:
        result = await runtime.run(blueprint, input, options)
    except Exception as error:
        log.print_log(f"{type(error).__name__}: {error}", file or sys.stdout)
        raise
    finally:
        forget()
    if result.status == "failed":
        told = "; ".join(
            f"{error['nodeKey']}: {error['type']}: {error['message']}" for error in result.errors
        )
        log.print_log(f"{result.blueprint.id} failed: {told}", file or sys.stdout)
    return result

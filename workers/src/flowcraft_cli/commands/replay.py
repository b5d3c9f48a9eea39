"""`flowcraft replay`: a recorded run once more, step by step, without executing anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, UsageError, note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowcraft_cli.backend import Backend
    from flowcraft_cli.replaying import Step

EXAMPLES: Final = (
    "flowcraft replay order-1001",
    "flowcraft replay order-1001 --until charge",
    "flowcraft replay order-1004 -o json",
)


def replay(  # noqa: PLR0917  each is an option
    run: options.Run,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="NODE_KEY",
            help="Stop when this node key was resolved: the run as it was then.",
            show_default=False,
        ),
    ] = None,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Go through a recorded run step by step: what each node got and gave, its edges, what could run next.

    Nothing is executed: the engine decides again on what is recorded, and says if it comes to another end
    than the run did. Of a context key that several nodes wrote, only the last value is recorded.
    """
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_replay(settings, run, until, output))


async def _replay(settings: Settings, run: str, until: str | None, output: options.OutputFormat) -> int:
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.commands.get import with_input
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.replaying import lines, steps
    from flowcraft_cli.run_nodes import NodeInputs, read_nodes, with_outputs
    from flowcraft_cli.views import RunView, print_data, put

    async with open_backend(settings) as backend:
        header = await with_input(backend.client, await find_run(backend.client, run))
        view = RunView.of(header, backend.clock.now())
        found = await read_nodes(backend, header)
        if found.blueprint is None:
            raise UsageError(f"run {view.name} has not begun: there is nothing to replay")
        nodes = await with_outputs(backend, header["id"], found.nodes)
        given = await NodeInputs(backend, header, found.blueprint).of(nodes, nodes)
        whole = steps(nodes, given, found.blueprint)
        some = _until(whole, until, view.name)
        names = list(dict.fromkeys(name for step in some for name in _wrote(step)))
        context = await _values(backend, header["id"], names)
    later = [name for step in whole[len(some) :] for name in _wrote(step) if name in context]
    if output in (options.OutputFormat.TABLE, options.OutputFormat.WIDE):
        put("\n".join(lines(some, context, later)) if some else f"run {view.name}: nothing is recorded yet")
    else:
        shown = {name: value for name, value in context.items() if name not in later}
        print_data(
            {"run": view.run_id, "steps": [step.document() for step in some], "context": shown}, output
        )
    if len(some) == len(whole):
        _compare(header.get("status", ""), whole, view.name)
    return OK


def _until(found: Sequence[Step], key: str | None, name: str) -> Sequence[Step]:
    if key is None:
        return found
    for number, step in enumerate(found, 1):
        if step.view.key == key:
            return found[:number]
    raise UsageError(
        f"run {name} has nothing recorded of {key}; `flowcraft describe {name}` shows what it has"
    )


def _wrote(step: Step) -> tuple[str, ...]:
    return step.view.record.wrote if step.view.record else ()


async def _values(backend: Backend, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:
    from flowcraft_cli.run_nodes import AT_ONCE

    values: dict[str, Any] = {}
    for first in range(0, len(names), AT_ONCE):
        values |= (await backend.facts.load(run_id, context=names[first : first + AT_ONCE])).context
    return values


def _compare(status: str, found: Sequence[Step], name: str) -> None:
    """Say so where what is recorded does not lead to what the run came to."""
    following = found[-1].next if found else None
    if status == "completed" and following:
        note(f"{name}: it completed, and by what is recorded {', '.join(following)} could still run")

"""`flowcraft decide`: the answer to a waiting node."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from flowcraft_cli import options
from flowcraft_cli.json_arguments import parse_json
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, UsageError, note

EXAMPLES = (
    "flowcraft decide order-1003 approve --action approved",
    'flowcraft decide order-1003 approve --action approved --output \'{"by": "ada"}\'',
)


def decide(  # noqa: PLR0913, PLR0917  each is an option
    run: options.Run,
    node_key: Annotated[
        str,
        typer.Argument(
            metavar="NODE_KEY", help="The waiting node, as `flowcraft describe` shows it.", show_default=False
        ),
    ],
    action: Annotated[
        str | None, typer.Option("--action", help="The node's action: it selects edges.", show_default=False)
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option("--output", metavar="JSON", help="The node's output, or @FILE.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where no edge of the node asks for the action.")
    ] = False,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    form: Annotated[options.OutputFormat, typer.Option("-o", help="How to print the run.")] = (
        options.OutputFormat.TABLE
    ),
) -> int:
    """Answer a node that waits for a decision, and let its run go on.

    An answer is final: the same one given again changes nothing, another one is refused. So an action that
    no edge of the node asks for is refused too, unless forced. A worker of the queue takes the run on: on one
    machine, `flowcraft worker`.
    """
    settings = Settings.read(backend=backend, db=db, queue=queue)
    value = None if answer is None else parse_json(answer, "--output")
    return asyncio.run(_decide(settings, (run, node_key), (action, value), form, force=force))


async def _decide(
    settings: Settings,
    place: tuple[str, str],
    answer: tuple[str | None, Any],
    form: options.OutputFormat,
    *,
    force: bool,
) -> int:
    from flowcraft.distributed.runs.verbs import RefusedError
    from flowcraft.linting.decisions import unknown_decision, untaken
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.pinned import pinned_blueprint
    from flowcraft_cli.views import RunView, print_runs

    run, node_key = place
    action, value = answer
    async with open_backend(settings) as backend:
        client = backend.client
        header = await find_run(client, run, to_change=True)
        blueprint = await pinned_blueprint(backend, header)
        if blueprint is not None and not force and (told := untaken(blueprint, node_key, action)):
            raise UsageError(f"{told}; --force records it all the same")
        try:
            await client.decide(header["id"], node_key, action=action, output=value)
        except RefusedError:
            if blueprint is not None and (told := unknown_decision(blueprint, node_key)):
                raise UsageError(told) from None
            raise
        view = RunView.of(await client.header(header["id"]), backend.clock.now())
    print_runs([view], form, single=True)
    if settings.chosen_backend == "embedded" and not view.phase.is_final:
        note("recorded; a worker takes the run on: flowcraft worker --app MODULE:ATTRIBUTE")
    return OK

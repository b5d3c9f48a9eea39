"""`flowcraft retry`, `flowcraft rerun`: new runs that go on from the results of one that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flowcraft_cli import options
from flowcraft_cli.json_arguments import parse_object, parse_values
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import note

if TYPE_CHECKING:
    from flowcraft.distributed.client import Client
    from flowcraft.ports import Stored

RETRY_EXAMPLES: Final = (
    "flowcraft retry order-1004",
    "flowcraft retry order-1004 --wait",
    "flowcraft retry order-1004 --input '{\"amount\": 42}' --set rate=0.5 --unset coupon",
)
RERUN_EXAMPLES: Final = (
    "flowcraft rerun order-1001 --from ship",
    'flowcraft rerun order-1001 --from ship --set \'address={"city": "Ulm"}\'',
    "flowcraft rerun order-1001 --input @order.json --new-keys",
    "flowcraft rerun order-1001 --from charge --new-keys --run-id order-1001-again",
)

Wait = Annotated[bool, typer.Option("--wait", help="Return when the new run has ended.")]
NewInput = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="JSON",
        help="The new run's input instead of the old one's: a JSON object, or @FILE (@- is stdin).",
        show_default=False,
    ),
]
SetKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Give a context key another value: JSON, else a text. Repeatable.",
        show_default=False,
    ),
]
UnsetKeys = Annotated[
    list[str] | None,
    typer.Option("--unset", metavar="KEY", help="Delete a context key. Repeatable.", show_default=False),
]


def retry(  # noqa: PLR0913, PLR0917  each is an option
    run: options.Run,
    new_input: NewInput = None,
    set_keys: SetKeys = None,
    unset_keys: UnsetKeys = None,
    wait: Wait = False,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Let a failed or cancelled run go on, as a new run; print its id.

    The new run takes over what was completed and executes the rest. Nodes that run again get the same
    idempotency keys as before. With another input or context, what was taken over stays as it was made of the
    old one. A run's id asked for twice is one new run; its name means the newest run of that name, which is
    that new run from then on: once it has failed too, the name retries it.
    """
    settings = Settings.read(backend=backend, db=db, queue=queue)
    changes = _changes(new_input, set_keys, unset_keys)

    async def again(client: Client, run_id: str) -> Stored:
        return await client.retry(run_id, **changes)

    return asyncio.run(_continue(settings, run, again, output, wait=wait))


def rerun(  # noqa: PLR0913, PLR0917  each is an option
    run: options.Run,
    nodes: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="NODE",
            help="Run again from this node on; by default from the start. Repeatable.",
            show_default=False,
        ),
    ] = None,
    new_input: NewInput = None,
    set_keys: SetKeys = None,
    unset_keys: UnsetKeys = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id", metavar="ID", help="The new run's id: asked for twice is one run.", show_default=False
        ),
    ] = None,
    new_keys: Annotated[
        bool,
        typer.Option(
            "--new-keys",
            help="Give nodes new idempotency keys, so that services do again what they did before.",
        ),
    ] = False,
    wait: Wait = False,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Run an ended run again from a node on, as a new run; print its id.

    The new run takes over what does not follow from the node, and executes the node and the rest. The old run
    stays as it is. With another input or context, services that know the idempotency keys may answer as
    before: see --new-keys.
    """
    settings = Settings.read(backend=backend, db=db, queue=queue)
    changes = _changes(new_input, set_keys, unset_keys)

    async def again(client: Client, source_id: str) -> Stored:
        return await client.rerun(source_id, nodes or (), new_run_id=run_id, new_keys=new_keys, **changes)

    return asyncio.run(_continue(settings, run, again, output, wait=wait))


def _changes(
    new_input: str | None, set_keys: list[str] | None, unset_keys: list[str] | None
) -> dict[str, Any]:
    """What the new run is to have otherwise, as the client takes it."""
    return {
        "input": None if new_input is None else parse_object(new_input, "--input"),
        "patch": parse_values(set_keys or [], "--set"),
        "delete": tuple(unset_keys or ()),
    }


async def _continue(
    settings: Settings,
    run: str,
    again: Callable[[Client, str], Awaitable[Stored]],
    output: options.OutputFormat,
    *,
    wait: bool,
) -> int:
    from flowcraft.distributed.runs.header import is_terminal
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.commands.start import show_started
    from flowcraft_cli.finding import find_run

    async with open_backend(settings) as backend:
        client = backend.client
        source = await find_run(client, run, to_change=True)
        stored = await again(client, source["id"])
        new_id, status = stored.document["runId"], stored.document["status"]
        if is_terminal(stored.document):
            note(f"this was asked for before: run {new_id} has {status}; to go on, retry or rerun that one")
        return await show_started(backend, new_id, output, wait=wait)

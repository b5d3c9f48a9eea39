"""`flowcraft poison`: messages that no worker could act on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, REFUSED, UsageError, note

if TYPE_CHECKING:
    from datetime import datetime

    from flowcraft.distributed.poison import PoisonMessage, PoisonQueue

EXAMPLES = (
    "flowcraft poison list",
    "flowcraft poison show 17",
    "flowcraft poison requeue 17 18",
    "flowcraft poison drop --all",
)
COLUMNS = ("ID", "AGE", "DELIVERIES", "RUN", "NODE", "REASON")
SHOWN = 60
"""Characters of a reason in the table; `show` and `-o json` have all."""


class Action(StrEnum):
    """What to do with the poison queue."""

    LIST = "list"
    SHOW = "show"
    REQUEUE = "requeue"
    DROP = "drop"


def poison(  # noqa: PLR0917  each is an option
    action: Annotated[Action, typer.Argument(help="list, show, requeue or drop.", show_default=False)],
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Messages, as `list` shows them.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All messages instead of some.")] = False,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Look at messages that no worker could act on, send them back, or drop them.

    A message is moved here when nobody can read it, or when its workers died of it too often: its node has
    failed then. No run needs what is here. What belongs to a run that has ended is not sent back.
    """
    chosen = ids or []
    if bool(chosen) == everything and action is not Action.LIST:
        raise UsageError(
            f"poison {action}: name messages by their ids (`flowcraft poison list`), or give --all"
        )
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_poison(settings, action, None if everything else chosen, output))


async def _poison(
    settings: Settings, action: Action, ids: Sequence[str] | None, output: options.OutputFormat
) -> int:
    from flowcraft.distributed.poison import PoisonQueue
    from flowcraft_cli.backend import open_backend

    async with open_backend(settings) as backend:
        box = PoisonQueue(backend.queue, backend.poison(), backend.facts)
        if action is Action.LIST:
            return _list(await box.messages(), backend.clock.now(), settings.queue, output)
        if action is Action.SHOW:
            return await _show(box, ids, output)
        refused: dict[str, str] = {}
        if action is Action.REQUEUE:
            done, refused = await box.requeue(ids)
        else:
            done = await box.drop(ids)
    from flowcraft_cli.views import put

    for message_id in done:
        put(f"{message_id} {'sent back' if action is Action.REQUEUE else 'dropped'}")
    for message_id, why in refused.items():
        note(f"{message_id} stays: {why}")
    return _missing(ids, [*done, *refused]) or (REFUSED if refused else OK)


def _missing(ids: Sequence[str] | None, found: Sequence[str]) -> int:
    missing = [message_id for message_id in ids or () if message_id not in found]
    if missing:
        note(f"there is no message {', '.join(missing)}; `flowcraft poison list` shows them")
    return REFUSED if missing else OK


def _list(found: list[PoisonMessage], now: datetime, queue: str, output: options.OutputFormat) -> int:
    from flowcraft_api.durations import elapsed
    from flowcraft_cli.tables import format_table
    from flowcraft_cli.views import print_data, put

    if output in (options.OutputFormat.JSON, options.OutputFormat.YAML):
        print_data({"items": [_document(message) for message in found]}, output)
    elif not found:
        note(f"No poison messages of queue {queue}.")
    else:
        rows = [
            [
                message.id,
                elapsed((now - message.moved_at).total_seconds()),
                str(message.deliveries),
                message.message.run_id if message.message else "",
                message.message.node_key if message.message else "",
                message.reason if len(message.reason) <= SHOWN else f"{message.reason[:SHOWN]}...",
            ]
            for message in found
        ]
        put(format_table(COLUMNS, rows))
    return OK


async def _show(box: PoisonQueue, ids: Sequence[str] | None, output: options.OutputFormat) -> int:
    from flowcraft_cli.views import print_data, put

    found = [message for message in await box.messages() if ids is None or message.id in ids]
    if output in (options.OutputFormat.JSON, options.OutputFormat.YAML):
        print_data({"items": [_document(message) for message in found]}, output)
    else:
        for message in found:
            lines = {**_document(message), "advice": await box.advice(message)}
            put("\n".join(f"{name + ':':<12}{value}" for name, value in lines.items() if value != ""))
    return _missing(ids, [message.id for message in found])


def _document(message: PoisonMessage) -> dict[str, Any]:
    from flowcraft_api.timestamps import rfc3339, whole_seconds

    return {
        "id": message.id,
        "reason": message.reason,
        "deliveries": message.deliveries,
        "movedAt": rfc3339(whole_seconds(message.moved_at)),
        "runId": message.message.run_id if message.message else "",
        "nodeKey": message.message.node_key if message.message else "",
        "body": message.body,
    }

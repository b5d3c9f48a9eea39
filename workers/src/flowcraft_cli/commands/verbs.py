"""`flowcraft cancel`, `suspend`, `resume`, `delete`: the verbs that need nothing but a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, note

CANCEL_EXAMPLES: Final = ("flowcraft cancel order-1001",)
SUSPEND_EXAMPLES: Final = ("flowcraft suspend order-1001",)
RESUME_EXAMPLES: Final = ("flowcraft resume order-1001",)
DELETE_EXAMPLES: Final = ("flowcraft delete order-1001",)


def _changing(verb: str, text: str) -> Callable[..., int]:
    """The command of a verb that changes a run's header; it prints the run as it is then."""

    def command(
        run: options.Run,
        backend: options.Backend = None,
        db: options.Db = None,
        queue: options.Queue = None,
        output: options.Output = options.OutputFormat.TABLE,
    ) -> int:
        settings = Settings.read(backend=backend, db=db, queue=queue)
        return asyncio.run(_change(settings, verb, run, output))

    command.__name__, command.__doc__ = verb, text
    return command


cancel: Final = _changing(
    "cancel", "Cancel a run, for good. Nodes that are running are told; doing it again changes nothing."
)
suspend: Final = _changing(
    "suspend", "Pause a run: nodes that are running end, and no other begins until `flowcraft resume`."
)
resume: Final = _changing("resume", "Let a suspended run go on.")


async def _change(settings: Settings, verb: str, run: str, output: options.OutputFormat) -> int:
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.finding import find_run
    from flowcraft_cli.views import RunView, print_runs

    async with open_backend(settings) as backend:
        client = backend.client
        run_id = (await find_run(client, run, to_change=True))["id"]
        changed = await getattr(client, verb)(run_id)
        print_runs([RunView.of(changed, backend.clock.now())], output, single=True)
    return OK


def delete(
    run: options.Run,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
) -> int:
    """Delete a run that has ended, with its inputs, outputs and records; a WorkflowRun of it stays.

    What ended less than a minute ago goes a minute after its end, with the reconciliation of its queue.
    """
    return asyncio.run(_delete(Settings.read(backend=backend, db=db, queue=queue), run))


async def _delete(settings: Settings, run: str) -> int:
    from flowcraft_cli.backend import open_backend
    from flowcraft_cli.finding import find_run

    async with open_backend(settings) as backend:
        client = backend.client
        run_id = (await find_run(client, run, to_change=True))["id"]
        if not await client.delete(run_id):
            note(f"{run}: it ended just now; it is deleted in a minute, by the reconciliation of its queue")
    return OK

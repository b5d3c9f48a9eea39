"""`flowcraft cancel`, `suspend`, `resume`: the verbs that change a run's header."""

from __future__ import annotations

import asyncio
from typing import Final

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK

CANCEL_EXAMPLES: Final = ("flowcraft cancel order-1001",)
SUSPEND_EXAMPLES: Final = ("flowcraft suspend order-1001",)
RESUME_EXAMPLES: Final = ("flowcraft resume order-1001",)


def cancel(
    run: options.Run,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Cancel a run, for good. Nodes that are running are told; doing it again changes nothing."""
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_change(settings, "cancel", run, output))


def suspend(
    run: options.Run,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Pause a run: nodes that are running end, and no other begins until `flowcraft resume`."""
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_change(settings, "suspend", run, output))


def resume(
    run: options.Run,
    backend: options.Backend = None,
    db: options.Db = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Let a suspended run go on."""
    settings = Settings.read(backend=backend, db=db, queue=queue)
    return asyncio.run(_change(settings, "resume", run, output))


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

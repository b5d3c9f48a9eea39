"""`flowcraft provision`: the queue, database and containers of the Azure backend."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from flowcraft_cli import options
from flowcraft_cli.settings import Settings
from flowcraft_cli.usage import OK, REFUSED, UsageError, note

if TYPE_CHECKING:
    from flowcraft_azure.provision import Part

EXAMPLES = ("flowcraft provision --queue shop-orders", "flowcraft provision -o json")


def provision(
    backend: options.Backend = None,
    queue: options.Queue = None,
    output: options.Output = options.OutputFormat.TABLE,
) -> int:
    """Create what lacks on Azure: queue, poison queue, database, containers.

    What exists is left as it is. Where something may not be created, or is not as it must be, the exit code
    is 2 and stderr says what to do. Workers never create anything.
    """
    settings = Settings.read(backend=backend, queue=queue)
    if settings.chosen_backend == "embedded":
        if settings.backend == "embedded":
            note("The embedded backend needs no provisioning: its file is made at the first use.")
            return OK
        raise UsageError(
            "no Azure connection is set, so nothing can be provisioned; set "
            "FLOWCRAFT_QUEUE_CONNECTION_STRING "
            "or FLOWCRAFT_QUEUE_ACCOUNT_URL and the others (docs/operations.md)"
        )
    return asyncio.run(_provision(settings, output))


async def _provision(settings: Settings, output: options.OutputFormat) -> int:
    from flowcraft_azure.provision import provision as create
    from flowcraft_azure.settings import AzureSettings, AzureSettingsError

    try:
        parts = await create(AzureSettings.from_environment(os.environ, settings.queue))
    except AzureSettingsError as error:
        raise UsageError(str(error)) from None
    _print(parts, output)
    lacking = [part for part in parts if not part.usable]
    for part in lacking:
        advice = f"; a person with the right may run: {part.command}" if part.command else ""
        note(f"{part.kind} {part.name} {part.outcome.value}: {part.detail}{advice}")
    return REFUSED if lacking else OK


def _print(parts: list[Part], output: options.OutputFormat) -> None:
    from flowcraft_cli.tables import format_table
    from flowcraft_cli.views import print_data, put

    if output in (options.OutputFormat.TABLE, options.OutputFormat.WIDE):
        put(format_table(["KIND", "NAME", "OUTCOME"], [[p.kind, p.name, p.outcome.value] for p in parts]))
        return
    documents = [
        {"kind": p.kind, "name": p.name, "outcome": p.outcome.value, "detail": p.detail, "command": p.command}
        for p in parts
    ]
    print_data(documents, output)

"""Finding the run that somebody means: by its id, or by the name of its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from flowcraft_cli.usage import UsageError

if TYPE_CHECKING:
    from flowcraft.distributed.client import Client
    from flowcraft_api.wire import HeaderDocument


_SECONDS: Final = len("2026-01-31T08:00:00")
"""Of a time in ISO-8601, what tells it to the second."""


async def find_run(client: Client, wanted: str, *, to_change: bool = False) -> HeaderDocument:
    """The whole header of a run.

    A name may have been used several times. Then the newest run of that name is shown; to change one, only
    one of them may be active.

    Raises:
        UsageError: there is none, or several that could be meant.
    """
    from flowcraft.distributed.client import RunNotFoundError

    try:
        return await client.header(wanted)
    except RunNotFoundError:
        pass
    named = [header for header in await list_runs(client) if header.get("name") == wanted]
    if not named:
        raise UsageError(
            f"there is no run {wanted!r} in queue {client.queue_name}; `flowcraft get` lists the runs"
        )
    if to_change:
        active = [header for header in named if _is_active(header)]
        if len(active) > 1:
            ids = ", ".join(header["id"] for header in active)
            raise UsageError(f"several active runs are called {wanted}: give the id of one: {ids}")
        named = active or named
    newest = max(named, key=lambda header: (header.get("createdAt") or "", header["id"]))
    return await client.header(newest["id"])


async def list_runs(client: Client, *, active: bool = False) -> list[HeaderDocument]:
    """The headers (without input and blueprint) of the queue's runs, in the order of ``in_order``."""
    from flowcraft.distributed.runs.header import ACTIVE
    from flowcraft.ports import HeaderQuery

    query = HeaderQuery(queue=client.queue_name, statuses=list(ACTIVE) if active else None)
    found = [stored.document async for page in client.list(query) for stored in page]
    return in_order(found)


def in_order(found: Iterable[HeaderDocument]) -> list[HeaderDocument]:
    """Runs as people read them: the oldest first, those of one second by name."""
    return sorted(
        found,
        key=lambda header: (
            (header.get("createdAt") or "")[:_SECONDS],
            header.get("name") or header["id"],
            header.get("createdAt") or "",
            header["id"],
        ),
    )


def _is_active(header: HeaderDocument) -> bool:
    from flowcraft_api.wire import TERMINAL_STATUSES

    return header.get("status") not in TERMINAL_STATUSES
